// A call that is never answered must not hold up what comes after it.

/** What `call` resolves to, or a rejection when that takes longer than `ms`. The call itself goes on. */
export function inTime<T>(call: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer in ${ms} ms`)), ms);
    call.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
