// What is measured: name, type, unit and meaning of every family, as Prometheus and the console are told it. Labels
// hold words of ours and ids of shards, never a user's id: a series per user would be a list of users.

/** Upper bounds in seconds: a call or a publish takes milliseconds, an outage seconds. */
const LATENCY_BUCKETS_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;
/** Upper bounds in seconds of how long a message waited: at once, an outage, a night. */
const AGE_BUCKETS_SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 5, 15, 60, 300, 1_800, 7_200, 28_800] as const;

const SINCE = "Counted in memory since vettid_bridge_start_time_seconds of the shard.";
const HTTP =
  "Worker isolates hand their counts to a shard every 10 s while they are called, and at a scrape that reaches them; " +
  "what an isolate has not handed over when it is discarded is lost.";

interface CounterFamily {
  type: "counter";
  help: string;
}
interface HistogramFamily {
  type: "histogram";
  help: string;
  /** Upper bounds, ascending, without +Inf. */
  buckets: readonly number[];
}
interface GaugeFamily {
  type: "gauge";
  help: string;
}

/** Counted where it happens, in memory; carried and added up as a Snapshot. */
export const COUNTERS = {
  vettid_http_requests_total: {
    type: "counter",
    help: `Calls answered, by the scope their route needs (class "wait": calls that held the line; "none": no route) and status. ${HTTP} ${SINCE}`,
  },
  vettid_published_total: {
    type: "counter",
    help: `Messages handed to this shard for a broker, by what became of them: stored (acknowledged) or failed (their owner repeats them). ${SINCE}`,
  },
  vettid_received_total: {
    type: "counter",
    help: `Messages from users by what became of them: done (taken in by the user's object), rejected (refused before decryption), retry (put back), given_up. ${SINCE}`,
  },
  vettid_received_redelivered_total: {
    type: "counter",
    help: `Messages from users that came for a second time or more. ${SINCE}`,
  },
  vettid_rejected_total: {
    type: "counter",
    help: `Messages from users refused before decryption or given up, by reason; each is told to internal.rejected. ${SINCE}`,
  },
  vettid_object_calls_failed_total: {
    type: "counter",
    help: `Calls of users' objects that failed: the object threw or did not answer in time. ${SINCE}`,
  },
  vettid_session_ended_total: {
    type: "counter",
    help: `Broker sessions that ended and attempts that failed. ${SINCE}`,
  },
} as const satisfies Record<string, CounterFamily>;
export type CounterName = keyof typeof COUNTERS;

export const HISTOGRAMS = {
  vettid_http_request_duration_seconds: {
    type: "histogram",
    help: `Time from a call to its answer, by the scope its route needs. ${HTTP} ${SINCE}`,
    buckets: LATENCY_BUCKETS_SECONDS,
  },
  vettid_publish_duration_seconds: {
    type: "histogram",
    help: `Time from a batch's arrival at the shard until the broker's word on it. ${SINCE}`,
    buckets: LATENCY_BUCKETS_SECONDS,
  },
  vettid_outbox_age_seconds: {
    type: "histogram",
    help: `Age of outbox messages, from the commit that made them, when a broker first had them. ${SINCE}`,
    buckets: AGE_BUCKETS_SECONDS,
  },
  vettid_received_age_seconds: {
    type: "histogram",
    help: `Time from the broker's storing of a user's message until the user's object had committed it, by the clocks of both. ${SINCE}`,
    buckets: AGE_BUCKETS_SECONDS,
  },
} as const satisfies Record<string, HistogramFamily>;
export type HistogramName = keyof typeof HISTOGRAMS;

/** Looked up when somebody asks. */
export const GAUGES = {
  vettid_bridge_up: { type: "gauge", help: "1 if the shard answers." },
  vettid_bridge_start_time_seconds: {
    type: "gauge",
    help: "When this life of the shard began, in seconds since the epoch: a deploy, an eviction or a crash begins another, and its counters start at 0.",
  },
  vettid_session_up: { type: "gauge", help: "1 if the shard's session with the cluster is up." },
  vettid_session_changed_time_seconds: {
    type: "gauge",
    help: "When the session became what it is, in seconds since the epoch.",
  },
  vettid_credentials_days_left: {
    type: "gauge",
    help: "Days until the session's credentials expire; absent when they do not.",
  },
  vettid_publishing_messages: { type: "gauge", help: "Messages in flight to the broker." },
  vettid_publishing_bytes: { type: "gauge", help: "Their bytes." },
  vettid_waiting_messages: {
    type: "gauge",
    help: "Messages from users that this shard holds and no user's object has taken yet.",
  },
  vettid_outbox_unsent_messages: {
    type: "gauge",
    help: "Messages this shard was given that no broker has taken yet. One whose owner could not reach the shard is not among them until it has.",
  },
  vettid_outbox_oldest_unsent_seconds: {
    type: "gauge",
    help: "Age of the oldest of vettid_outbox_unsent_messages, from the commit that made it; 0 when there is none.",
  },
  vettid_stream_pending_messages: {
    type: "gauge",
    help: "Messages from users that wait in the stream, over all shards; absent while no session is up.",
  },
  vettid_stream_unacknowledged_messages: {
    type: "gauge",
    help: "Messages from users delivered and not settled, over all shards.",
  },
  vettid_stream_redelivered_messages: {
    type: "gauge",
    help: "Of those, the ones delivered more than once.",
  },
  vettid_journal_up: { type: "gauge", help: "1 if the journal's shard answers." },
  vettid_journal_waiting_events: {
    type: "gauge",
    help: 'Events that an endpoint\'s delivery has not got to yet; endpoint "callback" stands for all callback URLs.',
  },
  vettid_journal_retrying_deliveries: {
    type: "gauge",
    help: "Deliveries that failed and will be tried again.",
  },
  vettid_audit_sink_up: {
    type: "gauge",
    help: 'Of sink "https" or "r2": 1 if its last batch of audit entries was taken, 0 while it fails.',
  },
  vettid_audit_sink_waiting_entries: {
    type: "gauge",
    help: "Audit entries that the sink has not taken yet.",
  },
  vettid_audit_sink_oldest_waiting_seconds: {
    type: "gauge",
    help: "Age of the oldest of vettid_audit_sink_waiting_entries, from when the shard was handed it; 0 when there is none.",
  },
  vettid_revocations_up: {
    type: "gauge",
    help: "1 if the cluster was last seen to refuse every revoked user JWT it was asked about, 0 while that fails; absent without the operator's key.",
  },
  vettid_revocations_waiting: {
    type: "gauge",
    help: "Revoked user JWTs that the cluster was not seen to refuse yet; absent without the operator's key.",
  },
  vettid_kek_objects_left: {
    type: "gauge",
    help: "Objects that may still hold values under VAULT_KEK_PREVIOUS; absent while that is not set.",
  },
} as const satisfies Record<string, GaugeFamily>;
export type GaugeName = keyof typeof GAUGES;

/** Counters that are stored where they count, and so survive everything. */
export const STORED_COUNTERS = {
  vettid_journal_events_total: {
    type: "counter",
    help: "Events recorded, since the deployment's first.",
  },
} as const satisfies Record<string, CounterFamily>;
export type StoredCounterName = keyof typeof STORED_COUNTERS;
