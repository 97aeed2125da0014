set local lock_timeout = '5s';

alter table epochs add column parent_timeline_id uuid;

update epochs
set parent_timeline_id = timeline_id
where parent_number is not null;

alter table epochs
    drop constraint epochs_timeline_id_parent_number_fkey,
    drop constraint parent_came_before,
    add constraint parent_is_an_epoch foreign key (parent_timeline_id, parent_number)
        references epochs (timeline_id, number),
    add constraint parent_timeline_iff_parent check (
        (parent_timeline_id is null) = (parent_number is null)
    ),
    add constraint parent_came_before check (
        parent_timeline_id <> timeline_id or parent_number < number
    );

comment on column epochs.parent_timeline_id is 'Timeline of the epoch that it went on from: another one for the first epoch of a fork; null for the first of all.';
