//! Whatever retention leaves, what is shown as restorable can be restored: also while it deletes.
