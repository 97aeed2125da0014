//! Writes `docs/machines/*.md` anew from the tables: `cargo run -p shared --example render_machines`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/machines");
    std::fs::create_dir_all(&directory)?;
    for (name, text) in shared::machine::render::documents() {
        std::fs::write(directory.join(name), text)?;
    }
    Ok(())
}
