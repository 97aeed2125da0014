set local lock_timeout = '5s';

create table tokens (
    id uuid primary key,
    name text not null,
    hash bytea not null unique,
    scope text not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    revoked_at timestamptz,
    constraint hash_is_sha256 check (octet_length(hash) = 32),
    constraint scope_is_known check (scope in ('read', 'write', 'admin'))
);

comment on table tokens is 'Bearer tokens of the API.';
comment on column tokens.id is 'Id of the token; not secret.';
comment on column tokens.name is 'What people call it.';
comment on column tokens.hash is 'SHA-256 of the token, which is 256 random bits.';
comment on column tokens.scope is 'read sees, write also creates and destroys, admin also manages tokens and jobs.';
comment on column tokens.created_at is 'Moment it was made.';
comment on column tokens.expires_at is 'Moment from which it is refused.';
comment on column tokens.revoked_at is 'Moment it was taken back; null while it is good.';

create table idempotency_keys (
    token_id uuid not null references tokens (id),
    key text not null,
    request_hash bytea not null,
    operation_id uuid not null references operations (id),
    created_at timestamptz not null,
    primary key (token_id, key)
);

create index idempotency_keys_by_age on idempotency_keys (created_at);

comment on table idempotency_keys is 'Creates that were already answered.';
comment on column idempotency_keys.token_id is 'Token that asked.';
comment on column idempotency_keys.key is 'Key the client chose.';
comment on column idempotency_keys.request_hash is 'SHA-256 of the request: the same key with another request is refused.';
comment on column idempotency_keys.operation_id is 'What the first answer named.';
comment on column idempotency_keys.created_at is 'Moment of the first request; kept for a day.';

create table audit (
    id bigint generated always as identity primary key,
    token_id uuid not null,
    action text not null,
    subject text not null,
    request_id uuid not null,
    at timestamptz not null
);

create index audit_by_age on audit (at);

comment on table audit is 'Who asked for which change.';
comment on column audit.id is 'Order of recording.';
comment on column audit.token_id is 'Token that asked.';
comment on column audit.action is 'What was asked for.';
comment on column audit.subject is 'Of what, in the words of the request.';
comment on column audit.request_id is 'The request.';
comment on column audit.at is 'Moment it was asked for.';

create table control_secrets (
    name text primary key,
    value bytea not null,
    created_at timestamptz not null
);

comment on table control_secrets is 'Secrets of the control plane itself.';
comment on column control_secrets.name is 'What it is: ca_certificate, ca_key.';
comment on column control_secrets.value is 'The value, encrypted.';
comment on column control_secrets.created_at is 'Moment it was made.';
