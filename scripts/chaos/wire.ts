// A wire between the Worker or a vault and a server, that can be cut: every connection over it is reset, while the
// server itself goes on and takes new ones.

import { connect, createServer, type Socket } from "node:net";
import { freePorts, LOOPBACK } from "../stack/ports.ts";

export class Wire {
  readonly port: number;
  readonly #close: () => void;
  readonly #sockets: Set<Socket>;

  private constructor(port: number, sockets: Set<Socket>, close: () => void) {
    this.port = port;
    this.#sockets = sockets;
    this.#close = close;
  }

  /** To a server on this machine, which may not be there yet. */
  static async to(target: number): Promise<Wire> {
    const [port] = await freePorts(1);
    const sockets = new Set<Socket>();
    const server = createServer((near) => {
      const far = connect(target, LOOPBACK);
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(one);
        one.pipe(other);
        one.on("error", () => {});
        one.on("close", () => {
          sockets.delete(one);
          other.destroy();
        });
      }
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, LOOPBACK, resolve);
    });
    return new Wire(port!, sockets, () => server.close());
  }

  /** How many connections it cut. */
  cut(): number {
    const count = this.#sockets.size / 2;
    for (const socket of this.#sockets) socket.resetAndDestroy();
    return count;
  }

  close(): void {
    this.#close();
    this.cut();
  }
}
