import { describe, expect, it } from "vitest";
import {
  bridgeWorkOf,
  type Costs,
  randomOf,
  type Shape,
  serversFor,
  simulate,
} from "../../../scripts/simulation/model.ts";

const costs: Costs = {
  askSeconds: 0.005,
  answerSeconds: 0.005,
  publishSeconds: 0.0004,
  bridgeSeconds: 0.0003,
  journalSeconds: 0.0005,
  leafSeconds: 0.00005,
  logBatchSeconds: 0.01,
};
const shape: Shape = { rate: 200, bridgeShards: 2, journalShards: 1, auditLogs: 1, seconds: 20, seed: 1 };

const station = (report: ReturnType<typeof simulate>, name: string) =>
  report.stations.find((known) => known.name === name)!;

describe("the simulation", () => {
  it("is the same for the same seed, and another for another", () => {
    expect(simulate(costs, shape)).toEqual(simulate(costs, shape));
    expect(simulate(costs, { ...shape, seed: 2 }).trips).not.toBe(simulate(costs, shape).trips);
  });

  it("finishes every trip that began", () => {
    const { trips } = simulate(costs, shape);
    const expected = shape.rate * shape.seconds;
    // A Poisson count: within five standard deviations.
    expect(Math.abs(trips - expected)).toBeLessThan(5 * Math.sqrt(expected));
  });

  it("keeps each station as busy as its work says", () => {
    const report = simulate(costs, { ...shape, seconds: 60 });
    const bridge = (shape.rate * bridgeWorkOf(costs)) / shape.bridgeShards;
    expect(station(report, "bridge shards").mean).toBeCloseTo(bridge, 1);
    expect(station(report, "journal shards").mean).toBeCloseTo(shape.rate * costs.journalSeconds, 1);
  });

  it("makes nobody wait where there is hardly any work", () => {
    const { p50 } = simulate(costs, { ...shape, rate: 1, seconds: 300 });
    expect(p50).toBeCloseTo(
      costs.askSeconds + costs.answerSeconds + costs.publishSeconds + costs.bridgeSeconds,
      3,
    );
  });

  it("waits as long as the theory of one queue says", () => {
    // Arrivals by chance, one server, a fixed time of work s: the mean wait is ρ s / (2 (1 − ρ)) (Pollaczek, Khinchine).
    const work = 0.003;
    const idle: Costs = {
      ...costs,
      bridgeSeconds: 0,
      leafSeconds: 0,
      logBatchSeconds: 0,
      journalSeconds: work,
    };
    const busy = shape.rate * work;
    const { meanWait } = station(simulate(idle, { ...shape, seconds: 300 }), "journal shards");
    const theory = (busy * work) / (2 * (1 - busy));
    expect(Math.abs(meanWait / theory - 1)).toBeLessThan(0.1);
  });

  it("names what is full first, and waiting grows without end there", () => {
    const heavy = { ...costs, journalSeconds: 0.006 };
    const report = simulate(heavy, shape);
    expect(report.first).toBe("journal shards");
    expect(station(report, "journal shards").busiest).toBeGreaterThan(1);
    expect(station(report, "journal shards").longestQueue).toBeGreaterThan(500);
    expect(station(simulate(heavy, { ...shape, journalShards: 4 }), "journal shards").busiest).toBeLessThan(
      0.5,
    );
  });

  it("shares work evenly enough over shards", () => {
    const report = simulate(costs, { ...shape, rate: 2_000, bridgeShards: 8 });
    const { busiest, mean } = station(report, "bridge shards");
    expect(busiest / mean).toBeLessThan(1.1);
  });
});

it("a number of servers keeps each below what it may be busy", () => {
  expect(serversFor(10_000, 0.001, 0.5)).toBe(20);
  expect(serversFor(1, 0.001, 0.5)).toBe(1);
});

it("random numbers are even, and those of a seed", () => {
  const random = randomOf(7);
  const drawn = Array.from({ length: 20_000 }, random);
  expect(drawn.slice(0, 3)).toEqual(Array.from({ length: 3 }, randomOf(7)));
  expect(Math.min(...drawn)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...drawn)).toBeLessThan(1);
  expect(drawn.reduce((sum, one) => sum + one, 0) / drawn.length).toBeCloseTo(0.5, 1);
});
