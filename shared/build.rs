//! Builds `shared` again when the migrations or the checked descriptions of its queries change:
//! both are read by macros, which cargo cannot see.

fn main() {
    println!("cargo::rerun-if-changed=../migrations");
    println!("cargo::rerun-if-changed=.sqlx");
}
