//! Stories that together come by every row of every table and every step.

use std::time::Duration;

use shared::domain::{ParticipantState, ResourceState, ServerState};

use crate::machines::world::World;
use crate::machines::world::cloud::Instance;
use crate::machines::world::rows::{Rid, Sid};

/// Something happens, and then the fleet runs until something is so.
pub(super) struct Scene {
    pub(super) happens: fn(&mut World),
    /// Told the moment at which the scene began.
    pub(super) until: fn(&World, Duration) -> bool,
}

pub(super) struct Story {
    pub(super) title: &'static str,
    pub(super) scenes: &'static [Scene],
}

const fn scene(happens: fn(&mut World), until: fn(&World, Duration) -> bool) -> Scene {
    Scene { happens, until }
}

/// The first row that is made in every story.
const FIRST: Rid = Rid(1);

const CREATE_STANDARD: Scene = scene(
    |world| {
        world.create(true);
    },
    is_available,
);
const DESTROY: Scene = scene(|world| world.destroy(FIRST), is_gone);

/// Long enough for a dead server to be given up and its successor to be made.
const LONG: Duration = Duration::from_mins(25);

pub(super) const STORIES: &[Story] = &[
    Story {
        title: "a standard database lives long enough for a new certificate",
        scenes: &[
            CREATE_STANDARD,
            scene(
                |_| (),
                |world, since| world.now > since + Duration::from_mins(15),
            ),
            DESTROY,
        ],
    },
    Story {
        title: "a fork is made and goes",
        scenes: &[
            scene(
                |world| {
                    world.fork(true);
                },
                is_available,
            ),
            DESTROY,
        ],
    },
    Story {
        title: "a fork is brought to a shared server and goes",
        scenes: &[
            scene(
                |world| {
                    world.fork_by_transfer(false);
                },
                is_available,
            ),
            DESTROY,
        ],
    },
    Story {
        title: "a fork of what cannot be restored",
        scenes: &[scene(
            |world| {
                world.fork(false);
            },
            is_gone,
        )],
    },
    Story {
        title: "two hobby databases share, and one goes",
        scenes: &[
            scene(
                |world| {
                    world.create(false);
                },
                is_available,
            ),
            scene(
                |world| {
                    world.create(false);
                },
                is_available,
            ),
            DESTROY,
        ],
    },
    Story {
        title: "PostgreSQL dies and is slow to come back",
        scenes: &[
            CREATE_STANDARD,
            scene(
                |world| {
                    with_server(world, |it| {
                        it.work_takes = Duration::from_mins(3);
                        it.kill_postgres();
                    });
                },
                |world, _| world.state_of(FIRST) != ResourceState::Available,
            ),
            scene(|_| (), is_available),
        ],
    },
    Story {
        title: "PostgreSQL dies and is back before anybody looks",
        scenes: &[
            CREATE_STANDARD,
            scene(
                |world| {
                    with_server(world, Instance::kill_postgres);
                    world.now += Duration::from_millis(60);
                    with_server(world, |_| ());
                    world.now += Duration::from_millis(60);
                    with_server(world, |_| ());
                },
                |world, since| world.now > since + Duration::from_mins(1),
            ),
        ],
    },
    Story {
        title: "PostgreSQL hangs and is restarted in place",
        scenes: &[
            CREATE_STANDARD,
            scene(
                |world| with_server(world, |it| it.wedged = true),
                is(ResourceState::Recovering),
            ),
            scene(|_| (), is_available),
        ],
    },
    Story {
        title: "a hanging database is destroyed",
        scenes: &[
            CREATE_STANDARD,
            scene(
                |world| with_server(world, |it| it.wedged = true),
                is(ResourceState::Recovering),
            ),
            DESTROY,
        ],
    },
    Story {
        title: "the machine reboots",
        scenes: &[
            CREATE_STANDARD,
            scene(
                |world| {
                    let now = world.now;
                    with_server(world, |it| it.boot(now + Duration::from_millis(1)));
                },
                |world, since| world.now > since + Duration::from_mins(1),
            ),
        ],
    },
    Story {
        title: "the machine stops while its provider is silent, and comes back elsewhere",
        scenes: &[
            CREATE_STANDARD,
            scene(
                |world| {
                    world.cloud.silent_until = world.now + Duration::from_mins(1);
                    with_server(world, Instance::stop);
                },
                is(ResourceState::Recovering),
            ),
            scene(|_| (), is_available),
        ],
    },
    Story {
        title: "destroyed while its server is unreachable for long",
        scenes: &[
            CREATE_STANDARD,
            scene(
                |world| {
                    world.cloud.silent_until = world.now + LONG;
                    with_server(world, Instance::stop);
                },
                |world, _| participant(world) == Some(ParticipantState::Down),
            ),
            DESTROY,
        ],
    },
    Story {
        title: "destroyed while the service is away",
        scenes: &[
            CREATE_STANDARD,
            scene(
                |world| {
                    with_server(world, |it| {
                        it.cut_off_until = LONG;
                    });
                },
                is(ResourceState::Unavailable),
            ),
            DESTROY,
        ],
    },
    Story {
        title: "destroyed before its server was asked for",
        scenes: &[
            scene(
                |world| {
                    world.cloud.silent_until = world.now + Duration::from_mins(1);
                    world.create(true);
                },
                |world, _| server(world) == Some(ServerState::Requested),
            ),
            DESTROY,
        ],
    },
    Story {
        title: "destroyed while its server boots",
        scenes: &[
            scene(
                |world| {
                    world.cloud.boot_takes = LONG;
                    world.create(true);
                },
                |world, _| server(world) == Some(ServerState::Booting),
            ),
            DESTROY,
        ],
    },
    Story {
        title: "destroyed while PostgreSQL is made",
        scenes: &[
            scene(
                |world| {
                    world.cloud.work_takes = Duration::from_secs(20);
                    world.create(true);
                },
                |world, _| participant(world) == Some(ParticipantState::Creating),
            ),
            DESTROY,
        ],
    },
    Story {
        title: "an operator gives up a server that boots, and another one takes its place",
        scenes: &[
            scene(
                |world| {
                    world.cloud.boot_takes = LONG;
                    world.create(true);
                },
                |world, _| server(world) == Some(ServerState::Booting),
            ),
            scene(
                |world| {
                    world.cloud.boot_takes = Duration::from_millis(500);
                    let id = server_id(world).expect("placed");
                    world
                        .rows
                        .servers
                        .overrule(id, |row| row.life.destroy_requested = true);
                },
                is_available,
            ),
        ],
    },
    Story {
        title: "the server is lost while PostgreSQL is made",
        scenes: &[
            scene(
                |world| {
                    world.cloud.work_takes = Duration::from_secs(20);
                    world.create(true);
                },
                |world, _| participant(world) == Some(ParticipantState::Creating),
            ),
            scene(lose_server, is_available),
        ],
    },
    Story {
        title: "the server is lost",
        scenes: &[
            CREATE_STANDARD,
            scene(lose_server, |world, _| {
                participant(world) == Some(ParticipantState::Removed)
            }),
            DESTROY,
        ],
    },
    Story {
        title: "the server is lost after PostgreSQL went down",
        scenes: &[
            CREATE_STANDARD,
            scene(
                |world| {
                    world.cloud.silent_until = world.now + Duration::from_mins(5);
                    with_server(world, Instance::stop);
                },
                |world, _| participant(world) == Some(ParticipantState::Down),
            ),
            scene(lose_server, |world, _| {
                participant(world) == Some(ParticipantState::Removed)
            }),
            DESTROY,
        ],
    },
];

fn is_available(world: &World, _: Duration) -> bool {
    world
        .rows
        .resources
        .iter()
        .all(|(_, row)| row.life.state == ResourceState::Available)
}

fn is_gone(world: &World, _: Duration) -> bool {
    world.state_of(FIRST) == ResourceState::Deprovisioned
}

/// The first resource is in a state.
const fn is(state: ResourceState) -> fn(&World, Duration) -> bool {
    match state {
        ResourceState::Unavailable => {
            |world, _| world.state_of(FIRST) == ResourceState::Unavailable
        }
        ResourceState::Recovering => |world, _| world.state_of(FIRST) == ResourceState::Recovering,
        _ => is_available,
    }
}

fn server_id(world: &World) -> Option<Sid> {
    let participant = world.rows.resources.row(FIRST).participant?;
    Some(world.rows.participants.row(participant).server)
}

fn server(world: &World) -> Option<ServerState> {
    Some(world.rows.servers.row(server_id(world)?).life.state)
}

fn participant(world: &World) -> Option<ParticipantState> {
    let participant = world.rows.resources.row(FIRST).participant?;
    Some(world.rows.participants.row(participant).life.state)
}

fn with_server(world: &mut World, happens: impl FnOnce(&mut Instance)) {
    let id = server_id(world).expect("the resource is placed");
    world.pass_time_on(id);
    happens(world.cloud.instance(id).expect("its instance exists"));
    world.pass_time_on(id);
}

/// The machine burns down, and an operator notes that it is gone.
fn lose_server(world: &mut World) {
    let id = server_id(world).expect("the resource is placed");
    world.cloud.lose(id);
    world.rows.servers.overrule(id, |row| {
        row.life.state = ServerState::Terminated;
        row.life.deadline = None;
    });
}
