//! The control database: its model, and every statement we run on it.

mod alerts;
mod archive;
mod backup_followers;
mod backups;
mod follower_lags;
mod intents;
mod jobs;
mod migrations;
mod moments;
mod observations;
mod plans_of_queries;
mod pool;
mod secrets;
mod tokens;
mod transfers;
mod transitions;
mod words;
mod world;
