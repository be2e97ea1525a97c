// Where the Worker writes, publishes or calls: each such place by name, with what is durable around it, what a crash
// there means and who repairs it. docs/FAULTS.md is made from this table; a test makes each place fail before and
// after it took effect.
//
// Words only: the Worker imports the names as types, and none of this is in its bundle.

/** One place. */
export interface FaultRow {
  /** The file it is in. */
  file: string;
  does: string;
  /** What is durable when it has not taken effect. */
  before: string;
  /** What is durable when it has. */
  after: string;
  /** What it means when the process dies at it, or the caller is told nothing. */
  crash: string;
  repairedBy: string;
}

const ALARM_REPEATS = "the object's alarm, set in the turn of the commit";
const SENDER_REPEATS = "the user's vault, which sends again until it has a receipt";
const BACKEND_REPEATS = "the backend, which repeats the call with its Idempotency-Key";

/** Places that tests arm. */
export const FAULT_POINTS = {
  "http.ask": {
    file: "src/http/routes/asking.ts",
    does: "calls the user's object with an ask",
    before: "nothing",
    after: "the request (`user.commit`)",
    crash: "the backend gets 500 or no answer and cannot know",
    repairedBy: `${BACKEND_REPEATS}: the same request is answered, or made once`,
  },
  "object.migrate": {
    file: "durable-objects/migrations.ts",
    does: "makes or changes an object's tables, in one transaction",
    before: "the tables as they were",
    after: "the tables of this version",
    crash: "the object does not start, or starts anew",
    repairedBy: "the next call to the object: the steps that are missing run again, all or none",
  },
  "user.redeem_invite": {
    file: "durable-objects/user-connection/setup.ts",
    does: "has the Directory count an invite's use",
    before: "nothing: the submission is still the vault's and the stream's",
    after: "the use, under the contract's id",
    crash:
      "the submission is not committed and comes again; a use counted for a contract is not counted twice",
    repairedBy: `the bridge, which delivers again, and ${SENDER_REPEATS}`,
  },
  "user.commit": {
    file: "durable-objects/user-connection/change.ts",
    does: "writes a step: rows, audit entries, events, sealed messages and the alarm, in one transaction",
    before: "nothing of the step",
    after: "all of the step",
    crash:
      "before: as if it had not been asked or received. After: everything that has to leave is in the database, and " +
      "whoever called repeats and is answered from it",
    repairedBy: `${ALARM_REPEATS}; ${BACKEND_REPEATS}; ${SENDER_REPEATS}`,
  },
  "user.index": {
    file: "durable-objects/user-connection/outbox.ts",
    does: "tells the Directory of a contract",
    before: "the contract, with a version the Directory has not confirmed; nothing leaves under a new one",
    after: "the row in the index",
    crash: "the row is written again; an older version never replaces a newer",
    repairedBy: ALARM_REPEATS,
  },
  "user.index_noted": {
    file: "durable-objects/user-connection/outbox.ts",
    does: "notes which version the Directory has",
    before: "the index row, not noted",
    after: "the note",
    crash: "the Directory is told once more",
    repairedBy: ALARM_REPEATS,
  },
  "user.tell": {
    file: "durable-objects/user-connection/outbox.ts",
    does: "hands events to the Journal, and with them the leaf of the chain's head",
    before: "the events, in the user's object",
    after: "the events, in both; the leaf in the Journal's memory",
    crash:
      "the events are handed over again; the Journal knows each by its id. For the leaf, as `head.offer`",
    repairedBy: ALARM_REPEATS,
  },
  "user.tell_noted": {
    file: "durable-objects/user-connection/outbox.ts",
    does: "deletes events the Journal has; those in an entry's row are confirmed by `head.noted`, and until then in memory",
    before: "the events, in both",
    after: "the events, in the Journal",
    crash: "the events are handed over again",
    repairedBy: ALARM_REPEATS,
  },
  "user.tell_confirmed": {
    file: "durable-objects/user-connection/outbox.ts",
    does: "takes events the Journal has out of entries that no logged head has covered for half a minute",
    before: "the events, in both",
    after: "the events, in the Journal",
    crash: "the events are handed over again; the Journal knows each by its id",
    repairedBy: ALARM_REPEATS,
  },
  "user.publish": {
    file: "durable-objects/user-connection/outbox.ts",
    does: "hands sealed messages to the bridge",
    before: "the sealed bytes and the time of the next sending",
    after: "the same, and the stream's copy",
    crash: "the bytes are sent again under the same message id, which the stream stores once",
    repairedBy:
      "the object's alarm, with growing pauses, until the user's signed receipt or the message's expiry",
  },
  "user.publish_noted": {
    file: "durable-objects/user-connection/outbox.ts",
    does: "drops a message that is never receipted, once a stream has it",
    before: "the sealed bytes, and the stream's copy",
    after: "the stream's copy",
    crash: "it is published once more; a repeated submission gets it again in any case",
    repairedBy: ALARM_REPEATS,
  },
  "user.alarm": {
    file: "durable-objects/user-connection/user-connection.ts",
    does: "looks at everything that is due and repeats what has not left",
    before: "what was due is due",
    after: "what was due is done or due later",
    crash: "an alarm that failed is set again; one whose process died fires again",
    repairedBy: "the alarm itself, and the platform's repeats of it",
  },
  "head.offer": {
    file: "durable-objects/heads.ts",
    does: "hands the leaf of the chain's head to the Journal, where no event takes it along",
    before: "the entry with its salt",
    after: "the same; the leaf is in the Journal's memory",
    crash: "the leaf may never come to the log by itself: `head.ask` brings it",
    repairedBy: ALARM_REPEATS,
  },
  "head.ask": {
    file: "durable-objects/heads.ts",
    does: "asks the Journal where the log has the leaf, which hands it over where it has not",
    before: "the entry with its salt, perhaps logged",
    after: "the same",
    crash: "it is asked again, and the leaf has the index it got first",
    repairedBy: "the object's alarm, which comes back until it has an index",
  },
  "head.noted": {
    file: "durable-objects/heads.ts",
    does: "notes where the log has a head",
    before: "the leaf, in the log",
    after: "the note, with the leaf's index",
    crash: "it is asked again",
    repairedBy: ALARM_REPEATS,
  },
  "directory.commit": {
    file: "durable-objects/directory/ledger.ts",
    does: "writes a change, its entry on the service's chain and the answer to be repeated, in one transaction",
    before: "nothing",
    after: "all of it, and the alarm",
    crash: "whoever called repeats: a stored answer is given again, a change already made is recognised",
    repairedBy: "the caller (backend, user's object, Journal); the head's way to the log is the alarm's",
  },
  "directory.index": {
    file: "durable-objects/directory/contract-index.ts",
    does: "writes rows of the contract index",
    before: "the rows, in the users' objects",
    after: "the rows, in both",
    crash: "as `user.index`",
    repairedBy: "the user's object, which has no confirmation",
  },
  "directory.key_used": {
    file: "durable-objects/directory/keys.ts",
    does: "notes the day an API key was used",
    before: "the day before",
    after: "the day",
    crash: "the call that used the key fails",
    repairedBy: "the backend, which repeats it; the next call notes the day",
  },
  "directory.alarm": {
    file: "durable-objects/directory/directory.ts",
    does: "deletes what has run out, and offers the chain's head again",
    before: "rows nobody reads",
    after: "space",
    crash: "nothing but space and time is lost",
    repairedBy: "the alarm itself, set again when it fails",
  },
  "journal.append": {
    file: "durable-objects/journal/journal.ts",
    does: "writes events, and the alarm that stands behind their delivery",
    before: "the events, in the user's object",
    after: "the events, in both, in order",
    crash: "as `user.tell`",
    repairedBy: "the user's object, which has no confirmation; from the commit on the Journal's alarm",
  },
  "journal.attempt": {
    file: "durable-objects/journal/journal.ts",
    does: "posts an event to an endpoint or callback URL",
    before: "the event, and a position before it or a row of its own",
    after: "the same; the receiver may have the event",
    crash: "it is posted again under the same webhook-id, by which the receiver knows it",
    repairedBy: "the Journal's alarm, within 15 s",
  },
  "journal.conclude": {
    file: "durable-objects/journal/dispatcher.ts",
    does: "writes how an attempt went: a row for what failed",
    before: "the event, and a position before it or a row of its own",
    after: "the row with its next attempt; for a 2xx nothing until the position is stored",
    crash: "as `journal.attempt`",
    repairedBy: "the Journal's alarm",
  },
  "journal.positions": {
    file: "durable-objects/journal/dispatcher.ts",
    does: "stores how far each endpoint has got",
    before: "a position that may be some deliveries old",
    after: "the position",
    crash: "what was delivered since the stored position, at most 100 deliveries, is delivered again",
    repairedBy: "the Journal's alarm",
  },
  "journal.disable": {
    file: "durable-objects/journal/journal.ts",
    does: "tells the Directory that an endpoint was disabled",
    before: "the endpoint's row says `disabled`, not reported",
    after: "the Directory's list and chain say so, too",
    crash: "it is told again; a second report changes nothing",
    repairedBy: "the Journal's alarm, while anything is unreported",
  },
  "journal.tell_disabled": {
    file: "durable-objects/journal/journal.ts",
    does: "puts `webhook.disabled` into the feed",
    before: "as after `journal.disable`",
    after: "the event, whose id follows from endpoint and epoch",
    crash: "it is appended again and recognised",
    repairedBy: "the Journal's alarm, while anything is unreported",
  },
  "journal.alarm": {
    file: "durable-objects/journal/journal.ts",
    does: "stores positions, starts what is due, deletes events that are over",
    before: "what was due is due",
    after: "what was due is under way",
    crash: "an alarm that failed is set again; one whose process died fires again",
    repairedBy: "the alarm itself",
  },
  "carrier.offer": {
    file: "durable-objects/journal/journal.ts",
    does: "passes a batch of leaves on to the audit log",
    before: "the heads, in their objects; here they are in memory only",
    after: "the leaves, under a published checkpoint",
    crash:
      "the shard forgets the leaves of the batch; their owners find them missing, or in the log, when they ask",
    repairedBy: "the objects that own the heads, by their alarms (`head.ask`)",
  },
  "log.commit": {
    file: "durable-objects/audit-log/audit-log.ts",
    does: "writes leaves, tiles, the new size and its signed checkpoint, in one transaction",
    before: "nothing: no signature has left",
    after: "each leaf has its index for good; publication is owed",
    crash: "before: the leaves are offered again. After: this checkpoint is published later",
    repairedBy: "the owners of the heads; from the commit on the log's alarm",
  },
  "log.tile": {
    file: "durable-objects/audit-log/audit-log.ts",
    does: "creates a tile in R2, which is never replaced",
    before: "the tile, in SQLite",
    after: "the tile, in both",
    crash: "some tiles are there: the rest is written, and those found must be as they would be written",
    repairedBy: "the next round, or the log's alarm",
  },
  "log.checkpoint": {
    file: "durable-objects/audit-log/audit-log.ts",
    does: "swaps the checkpoint in R2 for the next: the publication",
    before: "R2 has the checkpoint before",
    after: "R2 is ahead of what is noted",
    crash: "the next round compares R2 with its tree and recognises its own checkpoint",
    repairedBy: "the next round, or the log's alarm",
  },
  "log.published": {
    file: "durable-objects/audit-log/audit-log.ts",
    does: "notes what is published",
    before: "R2 is ahead of what is noted",
    after: "both say the same, and the carriers are answered",
    crash: "as `log.checkpoint`",
    repairedBy: "the next round, or the log's alarm",
  },
  "bridge.set_up": {
    file: "durable-objects/nats-bridge/nats-bridge.ts",
    does: "sees to it that the service's cluster has the stream and its consumer",
    before: "the cluster as it was, perhaps wiped",
    after: "stream and consumer",
    crash: "the session is not up; what is there already is left as it is",
    repairedBy: "the bridge, which connects again and looks again",
  },
  "bridge.publish": {
    file: "src/nats/publish.ts",
    does: "publishes a message and waits for the stream's word",
    before: "the message, with its owner",
    after: "the stream's copy; the word may be lost",
    crash: "it counts as failed and is published again under the same id, which the stream stores once",
    repairedBy: "the owner: the user's object; for a receipt the vault, which repeats its message",
  },
  "bridge.receive": {
    file: "durable-objects/nats-bridge/nats-bridge.ts",
    does: "hands a user's messages to their object",
    before: "the messages, in the stream and with their sender",
    after: "what the object committed; the messages are still in the stream",
    crash: "they are delivered again; the object knows them by id and gives the same receipts",
    repairedBy: "the stream, after the acknowledgement is overdue",
  },
  "bridge.settle": {
    file: "src/nats/pull.ts",
    does: "acknowledges a message the object has taken, or puts it back",
    before: "the message, in the object and in the stream",
    after: "the message, in the object",
    crash: "as after `bridge.receive`",
    repairedBy: "the stream, after the acknowledgement is overdue",
  },
  "bridge.alarm": {
    file: "durable-objects/nats-bridge/nats-bridge.ts",
    does: "sets the next alarm, before anything else in one",
    before: "the sessions are up while the object is",
    after: "the object comes back by itself",
    crash: "the platform repeats an alarm that failed",
    repairedBy: "the platform; `scheduled()` each minute; the next publish",
  },
} as const satisfies Record<string, FaultRow>;

export type FaultPoint = keyof typeof FAULT_POINTS;

/** Places that other tests let fail, by what they are given in their place; and where those are. */
export const TESTED_ELSEWHERE: readonly (FaultRow & { test: { file: string; title: string } })[] = [
  {
    file: "durable-objects/directory/announcements.ts",
    does: "hands events about the service itself to the Journal",
    before: "the events, in the Directory",
    after: "the events, in both",
    crash: "the events are handed over again; the Journal knows each by its id",
    repairedBy: "the Directory's alarm, set in the turn of the commit",
    test: {
      file: "test/workerd/discovery.test.ts",
      title: "tells its event after a crash that came before the journal had it",
    },
  },
  {
    file: "durable-objects/directory/registries.ts",
    does: "registers with a registry, or renews",
    before: "the registry, noted with the time it is asked",
    after: "the same, and whatever the registry keeps",
    crash: "what it said is lost, and it is asked again: a registration says the same each time",
    repairedBy: "the Directory's alarm, and the operator's next call",
    test: {
      file: "test/workerd/discovery.test.ts",
      title: "that has yet to look is asked each hour; the same call asks at once",
    },
  },
  {
    file: "durable-objects/transfer.ts",
    does: "takes in a page of an exported object's rows",
    before: "the pages before it",
    after: "its rows, and that they are there",
    crash: "the importing script gets no answer and cannot know",
    repairedBy: "the script, which sends the same page again; it is taken once",
    test: {
      file: "test/workerd/transfer.test.ts",
      title: "whose page fails half way leaves the pages before it, and takes that page then",
    },
  },
  {
    file: "durable-objects/audit-log/store.ts",
    does: "deletes partial tiles whose full tile is published",
    before: "the partial tiles",
    after: "space",
    crash: "they stay; the full tile serves in their place",
    repairedBy: "nobody needs to",
    test: { file: "test/workerd/audit-log.test.ts", title: "when partial tiles are dropped" },
  },
  {
    file: "durable-objects/audit-log/witnesses.ts",
    does: "asks a witness for a cosignature",
    before: "a checkpoint without it",
    after: "the witness remembers the checkpoint",
    crash: "the witness gives the same cosignature again",
    repairedBy: "the log's alarm, for three hours; then the next checkpoint",
    test: {
      file: "test/workerd/audit-log.test.ts",
      title: "are asked again by the alarm when they were away",
    },
  },
  {
    file: "durable-objects/audit-log/audit-log.ts",
    does: "keeps a cosignature and swaps it into the published checkpoint",
    before: "the checkpoint without it",
    after: "the cosignature, for proofs; in R2 if the checkpoint is still that one",
    crash: "the witness is asked again, from the size it remembers",
    repairedBy: "the log's alarm",
    test: {
      file: "test/workerd/audit-log.test.ts",
      title: "remember what they cosigned when the log does not",
    },
  },
  {
    file: "durable-objects/feeder.ts",
    does: "hands audit entries to the Journal for the sinks, then notes how far",
    before: "the entries, in the chain",
    after: "the entries, in the Journal's queue too",
    crash: "they are handed over again; sinks tell them apart by `event_hash`",
    repairedBy: ALARM_REPEATS,
    test: {
      file: "test/workerd/audit-sinks.test.ts",
      title: "is handed over again when the Journal's answer was lost",
    },
  },
  {
    file: "durable-objects/journal/sinks.ts",
    does: "sends a batch of audit entries to a sink, then notes its position",
    before: "the entries, in the Journal's queue",
    after: "the same; the sink may have the batch",
    crash:
      "the batch is sent again, named by its content; a sink that has it knows it, or overwrites the same bytes",
    repairedBy: "the Journal's alarm, within 15 s",
    test: {
      file: "test/workerd/audit-sinks.test.ts",
      title: "gets a batch again after a crash that came before its position was written",
    },
  },
  {
    file: "durable-objects/user-connection/erasing.ts",
    does: "has the Directory and the Journal forget a user, then forgets them here",
    before: "everything, and the wish to erase",
    after: "ids of ended contracts and the chain's end",
    crash: "what forgot already finds nothing to forget; the rest forgets then",
    repairedBy: ALARM_REPEATS,
    test: {
      file: "test/workerd/erasure.test.ts",
      title: "is finished by the alarm whichever of its steps was the last",
    },
  },
  {
    file: "durable-objects/directory/revocations.ts",
    does: "has the list of revocations changed in the users' account on the cluster, then notes that it is there",
    before: "the nkey and its time, not noted as listed; the cluster's list as it was",
    after: "the same, and the cluster refuses the nkey",
    crash: "the cluster is asked again; what its list holds already is not pushed again",
    repairedBy: "the Directory's alarm; the bridge, whose session coming up has the list compared",
    test: { file: "test/workerd/revocations.test.ts", title: "survive the object when it dies %s" },
  },
  {
    file: "durable-objects/rewrap.ts",
    does: "brings a batch of wrapped values under the new VAULT_KEK, in one transaction",
    before: "the values, under the key before",
    after: "the values, under the new key",
    crash: "each value names its key: the rest is found by it",
    repairedBy: "the Directory, which asks until nothing is left",
    test: { file: "test/workerd/rewrap.test.ts", title: "takes so many values and no more" },
  },
  {
    file: "durable-objects/directory/rewrapping.ts",
    does: "has an object bring its values under the new VAULT_KEK, then notes that it is done",
    before: "an object that is not noted as done",
    after: "the note",
    crash: "the object is asked again, and has nothing left to do",
    repairedBy: "the Directory's alarm; `scheduled()` each minute while VAULT_KEK_PREVIOUS is set",
    test: { file: "test/workerd/rewrap.test.ts", title: "comes back to them" },
  },
];
