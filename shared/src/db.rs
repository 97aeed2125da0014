//! All SQL of the control database: one module per table or join, free functions over an executor,
//! so that the caller owns the transaction.
