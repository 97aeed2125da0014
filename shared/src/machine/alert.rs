//! What a person should look at. Each has a runbook of its name in `docs/runbooks/`.

use super::words;

words!(
    /// Something that does not go away by itself in the time it should.
    Alert {
        /// A resource is not usable long after it was asked for.
        ResourceCreationLate = "resource-creation-late",
        /// A resource does not answer, and nothing shows whether a repair would help.
        ResourceUnavailable = "resource-unavailable",
        /// Neither a resource nor its server's agent answers, by time-outs only: it may be only us
        /// who are cut off, so nothing is repaired.
        ResourceCutOff = "resource-cut-off",
        /// A resource is still absent long after its repair began.
        ResourceRecoveryLate = "resource-recovery-late",
        /// A destroyed resource still holds data or secrets long after it was asked to go.
        ResourceRemovalLate = "resource-removal-late",
        /// The participant of a living resource is gone or on its way out.
        ResourceWithoutParticipant = "resource-without-participant",
        /// Writes to the disk of a resource do not finish.
        DiskHangs = "disk-hangs",
        /// The disk of a resource is nearly full.
        DiskNearlyFull = "disk-nearly-full",
        /// A participant waits for its server too long.
        ParticipantWaitsForServer = "participant-waits-for-server",
        /// PostgreSQL is not running long after it was asked for.
        ParticipantCreationLate = "participant-creation-late",
        /// PostgreSQL does not run, or its agent does not answer, and it does not come back.
        ParticipantDown = "participant-down",
        /// The data of a participant is still there long after it was asked to go.
        ParticipantRemovalLate = "participant-removal-late",
        /// An agent that held the data of a participant says that it holds none. Nothing is made
        /// anew in its place.
        ParticipantDataMissing = "participant-data-missing",
        /// An agent has seen a higher generation than the control database ever allocated.
        ParticipantGenerationAhead = "participant-generation-ahead",
        /// An agent holds another participant than the control database says.
        ParticipantMisplaced = "participant-misplaced",
        /// Half of the WAL that a server may keep for the archive waits there.
        ParticipantWalHalfKept = "participant-wal-half-kept",
        /// The provider has not accepted a server in time.
        ServerLaunchLate = "server-launch-late",
        /// The agent of a new server has not answered in time.
        ServerBootLate = "server-boot-late",
        /// The agent of a server stopped answering and does not come back.
        ServerUnreachable = "server-unreachable",
        /// The provider has not confirmed in time that a server is gone.
        ServerTerminationLate = "server-termination-late",
    }
);
