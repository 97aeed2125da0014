//! What holds for every machine.
