import { parseArgs } from 'node:util';
import { settingsSchema } from '../../functions/core/settings.ts';
import type { Ports } from '../../functions/ports.ts';
import { LocalHome } from '../../local/home.ts';
import { ProcessLock } from '../../local/processLock.ts';

/**
 * `stedi run`, killed with SIGKILL at a point: `node crashingRun.ts --lake DIR --at POINT`. A point is what has just been done:
 * `<port>.<method>`, a blank and the first argument that says more (`runFiles.write metrics/customer_trusted.json`), or
 * `log <event>` likewise (`log table_staged customer_landing`).
 */
const { values } = parseArgs({ options: { lake: { type: 'string' }, at: { type: 'string' } } });
const { lake = '', at = '' } = values;

function reached(...points: string[]): void {
  if (points.includes(at)) process.kill(process.pid, 'SIGKILL');
}

/** An object whose methods report what they have done. Those that return an iterable are left alone. */
function telling<T extends object>(port: string, object: T): T {
  return new Proxy(object, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function' || name === 'files' || name === 'list') return value;
      return async (...args: unknown[]) => {
        const result: unknown = await Reflect.apply(value, target, args);
        const point = `${port}.${String(name)}`;
        reached(point, ...args.map((arg) => `${point} ${String(arg)}`));
        return result;
      };
    },
  });
}

const decorate = (ports: Ports): Ports => ({
  ...ports,
  ledger: telling('ledger', ports.ledger),
  executions: telling('executions', ports.executions),
  runFiles: telling('runFiles', ports.runFiles),
  landingTables: telling('landingTables', ports.landingTables),
  alerts: telling('alerts', ports.alerts),
});

const lock = await ProcessLock.acquire(lake, 'a run that will be killed');
const home = new LocalHome({
  folder: lake,
  settings: settingsSchema.parse({ maxRejectRatio: 1 }),
  decorate,
  log: (event, fields) => reached(`log ${event}`, ...Object.values(fields).map((value) => `log ${event} ${String(value)}`)),
});
await home.announceLanding();
await home.reconcile();
await home.executions.drain();
home.close();
lock.release();
