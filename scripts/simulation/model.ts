// A model of the vault as queues, to see on paper what one machine cannot show: many shards, millions of people. Pure
// and seeded: the same numbers give the same run.
//
// A round trip is a path through stations. A shard is one server that takes what came first; users' objects are so many
// that none waits for another's work, and so are the Workers in front: both are times, not queues. What is shared by
// all (bridge shards, journal shards, the audit log) is where it breaks.

/** Seconds of work for one message or call, and seconds that pass without work. */
export interface Costs {
  /** From the call of the Worker to the answer of POST: the Worker, the user's object, its commit. */
  askSeconds: number;
  /** The user's object taking in an answer. */
  answerSeconds: number;
  /** A bridge shard's work for one message that a user's object hands it. */
  publishSeconds: number;
  /** A bridge shard's own work for one message otherwise: consumed and handed on, or a receipt on its way out. */
  bridgeSeconds: number;
  /** A journal shard's work for one event: storing it, delivering it, carrying its head. */
  journalSeconds: number;
  /** The audit log's work for one leaf; a batch takes `logBatchSeconds` besides. */
  leafSeconds: number;
  logBatchSeconds: number;
}

export interface Shape {
  /** Round trips a second. */
  rate: number;
  bridgeShards: number;
  journalShards: number;
  auditLogs: number;
  /** Simulated time. */
  seconds: number;
  seed: number;
}

export interface StationReport {
  name: string;
  /** Share of the time its busiest server worked; 1 is full, and what waits grows without end. */
  busiest: number;
  mean: number;
  /** What waits, at most, at one server. */
  longestQueue: number;
  /** Seconds that work waited before it began, on average. */
  meanWait: number;
}

export interface SimulationReport {
  trips: number;
  /** Seconds from POST until the answer is stored, without the person's own time. */
  p50: number;
  p99: number;
  stations: StationReport[];
  /** The station that is full first when the rate grows. */
  first: string;
}

/** What one trip asks of the bridge: to send the ask, to take in its receipt and the answer, to send the answer's receipt. */
export const bridgeWorkOf = ({ publishSeconds, bridgeSeconds }: Costs): number =>
  publishSeconds + 3 * bridgeSeconds;
/** The log takes one batch at a time, and at most one in this time. */
const LOG_BATCH_INTERVAL_SECONDS = 5;

/** mulberry32: small, seeded, good enough for arrivals. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Server {
  freeAt: number;
  worked: number;
  /** When what is in hand or waits here will be done, in order. */
  ends: number[];
  longest: number;
  waited: number;
  served: number;
}

class Station {
  readonly name: string;
  readonly #servers: Server[];

  constructor(name: string, servers: number) {
    this.name = name;
    this.#servers = Array.from({ length: servers }, () => ({
      freeAt: 0,
      worked: 0,
      ends: [],
      longest: 0,
      waited: 0,
      served: 0,
    }));
  }

  get size(): number {
    return this.#servers.length;
  }

  /** Takes work in at `at`; when it is done. Work must come in the order of time. */
  serve(at: number, server: number, seconds: number): number {
    const one = this.#servers[server]!;
    one.waited += Math.max(0, one.freeAt - at);
    one.served += 1;
    one.freeAt = Math.max(one.freeAt, at) + seconds;
    one.worked += seconds;
    let done = 0;
    while (done < one.ends.length && one.ends[done]! <= at) done++;
    one.ends.splice(0, done);
    one.ends.push(one.freeAt);
    one.longest = Math.max(one.longest, one.ends.length);
    return one.freeAt;
  }

  report(seconds: number): StationReport {
    const shares = this.#servers.map(({ worked }) => worked / seconds);
    return {
      name: this.name,
      busiest: Math.max(...shares),
      mean: shares.reduce((sum, share) => sum + share, 0) / shares.length,
      longestQueue: Math.max(...this.#servers.map(({ longest }) => longest)),
      meanWait:
        this.#servers.reduce((sum, { waited }) => sum + waited, 0) /
        Math.max(
          1,
          this.#servers.reduce((sum, { served }) => sum + served, 0),
        ),
    };
  }
}

/** What happens next, earliest first: a binary heap. */
class Agenda<Event extends { at: number }> {
  readonly #heap: Event[] = [];

  get size(): number {
    return this.#heap.length;
  }

  add(event: Event): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]!.at <= event.at) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  next(): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.at < heap[child]!.at) child++;
      if (heap[child]!.at >= last.at) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

type Stage = "asked" | "sent" | "receipt" | "answer" | "answered" | "journal" | "log";

interface Trip {
  at: number;
  stage: Stage;
  began: number;
  /** Which shard is this user's: by a hash, so as good as a draw. */
  user: number;
}

export function simulate(costs: Costs, shape: Shape): SimulationReport {
  const random = randomOf(shape.seed);
  const agenda = new Agenda<Trip>();
  const bridge = new Station("bridge shards", shape.bridgeShards);
  const journal = new Station("journal shards", shape.journalShards);
  const log = new Station("audit log", shape.auditLogs);
  const batchUntil = new Array<number>(shape.auditLogs).fill(0);
  const latencies: number[] = [];
  let trips = 0;

  let arrival = -Math.log(1 - random()) / shape.rate;
  const arrive = () => {
    if (arrival < shape.seconds) agenda.add({ at: arrival, stage: "asked", began: arrival, user: random() });
  };
  arrive();
  for (let event = agenda.next(); event !== undefined; event = agenda.next()) {
    const { at, began, user } = event;
    const go = (stage: Stage, when: number) => agenda.add({ at: when, stage, began, user });
    const own = (station: Station) => Math.floor(user * station.size);
    // Shards pull from one consumer: whichever has room.
    const any = (station: Station) => Math.floor(random() * station.size);
    switch (event.stage) {
      case "asked":
        arrival += -Math.log(1 - random()) / shape.rate;
        arrive();
        go("sent", at + costs.askSeconds);
        break;
      case "sent": {
        const sent = bridge.serve(at, own(bridge), costs.publishSeconds);
        go("receipt", sent);
        go("answer", sent);
        break;
      }
      case "receipt":
        bridge.serve(at, any(bridge), costs.bridgeSeconds);
        break;
      case "answer":
        go("answered", bridge.serve(at, any(bridge), costs.bridgeSeconds) + costs.answerSeconds);
        break;
      case "answered":
        trips += 1;
        latencies.push(at - began);
        // The receipt of the answer.
        bridge.serve(at, own(bridge), costs.bridgeSeconds);
        go("journal", at);
        break;
      case "journal":
        go("log", journal.serve(at, own(journal), costs.journalSeconds));
        break;
      case "log": {
        const place = own(log);
        const opens = at >= batchUntil[place]!;
        if (opens) batchUntil[place] = at + LOG_BATCH_INTERVAL_SECONDS;
        log.serve(at, place, costs.leafSeconds + (opens ? costs.logBatchSeconds : 0));
      }
    }
  }
  latencies.sort((a, b) => a - b);
  const stations = [bridge, journal, log].map((station) => station.report(shape.seconds));
  const first = stations.reduce((worst, station) => (station.busiest > worst.busiest ? station : worst));
  return {
    trips,
    p50: latencies[Math.floor(latencies.length * 0.5)] ?? 0,
    p99: latencies[Math.floor(latencies.length * 0.99)] ?? 0,
    stations,
    first: first.name,
  };
}

/** The least number of servers at which none is busier than `most`, for work that is spread evenly. */
export const serversFor = (rate: number, seconds: number, most: number): number =>
  Math.max(1, Math.ceil((rate * seconds) / most));
