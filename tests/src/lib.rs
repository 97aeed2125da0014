//! The harness of the integration tests: real servers, started by the test that needs them on free
//! ports and in temporary directories, and gone when the test is.

pub mod agent_server;
pub mod api_server;
pub mod command_line;
pub mod control_database;
pub mod documents;
pub mod object_server;
pub mod offset_clock;
pub mod postgres_server;
pub mod redis_server;
pub mod tcp_proxy;
pub mod world;
