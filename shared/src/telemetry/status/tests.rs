use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::telemetry::install_recorder;

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The only test that installs the recorder of the process, which can be done once.
#[tokio::test]
async fn a_process_tells_its_metrics_its_health_and_whether_it_is_ready() {
    let readiness = Readiness::not_yet("the control database does not answer");
    let metrics = install_recorder("test").unwrap();
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = StatusServer::bind(anywhere, metrics.clone(), readiness.clone())
        .await
        .unwrap();
    let address = server.address();
    let taken = StatusServer::bind(address, metrics, readiness.clone()).await;
    assert!(
        taken
            .unwrap_err()
            .to_string()
            .contains(&address.to_string())
    );

    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(server.serve(stop.clone()));

    let answer = get(address, "/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains("ringmaster_build_info{service=\"test\",version=\""),
        "{answer}"
    );
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    let answer = get(address, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(
        answer.contains("the control database does not answer"),
        "{answer}"
    );
    readiness.set_ready();
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
    readiness.set_not_ready("stopping");
    assert!(get(address, "/readyz").await.contains("stopping"));
    assert!(get(address, "/").await.starts_with("HTTP/1.1 404"));

    stop.cancel();
    tasks.join_all().await;
}
