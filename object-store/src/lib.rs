//! A file-backed S3 server.
