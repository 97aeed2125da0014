set local lock_timeout = '5s';

alter table servers
    add column disk_bytes bigint constraint disk_has_room check (disk_bytes > 0);

comment on column servers.disk_bytes is 'Size in bytes of the file system of the data, as the agent last told; null before it told.';
