//! What happens in the stories of real servers.

/// Something happens, and then the fleet runs until it has come of it what should.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scene {
    /// A customer asks for a database, and writes a row into it once it is available.
    Create {
        /// Name of the resource.
        name: &'static str,
        /// Its plan.
        plan: &'static str,
    },
    /// Its PostgreSQL is killed. Until resource and participant have recorded it.
    KillPostmaster {
        /// Name of the resource.
        name: &'static str,
    },
    /// The customer asks for its end. Until it is deprovisioned.
    Destroy {
        /// Name of the resource.
        name: &'static str,
    },
}

pub(super) type Story = [Scene];

pub(super) static STANDARD: [Scene; 2] = [
    Scene::Create {
        name: "first",
        plan: "standard",
    },
    Scene::Destroy { name: "first" },
];

pub(super) static TWO_HOBBY: [Scene; 3] = [
    Scene::Create {
        name: "first",
        plan: "hobby",
    },
    Scene::Create {
        name: "second",
        plan: "hobby",
    },
    Scene::Destroy { name: "first" },
];

pub(super) static KILLED_POSTMASTER: [Scene; 2] = [
    Scene::Create {
        name: "first",
        plan: "standard",
    },
    Scene::KillPostmaster { name: "first" },
];
