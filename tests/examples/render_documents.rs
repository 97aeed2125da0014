//! Writes the rendered documents anew: `make prepare`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (path, text) in tests::documents::rendered() {
        std::fs::write(root.join(path), text)?;
    }
    Ok(())
}
