/** Leases: how programs show that they live, how others judge it, and how one of several is elected. */
export { startHeartbeat, type Heartbeat, type HeartbeatOptions } from './heartbeat.ts';
export { LeaseTracker, type LeaseTrackerOptions } from './lease-tracker.ts';
export { runWithLeaderElection, type LeaderElection, type LeaderElectionOptions } from './election.ts';
export type { Lease } from './kinds.ts';
