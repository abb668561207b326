import { type Answer, answer } from './answer.ts';
import type { FaultContext } from './script.ts';

export interface HopOptions {
  readonly crossOrigin?: boolean;
  /** Location without an origin. */
  readonly relative?: boolean;
  readonly code?: number;
}

// Keeps the rule that sent a request on its way from acting again at the end of it.
const ARRIVED = 'arrived';

/** The URL of a chain with so many hops left, which ends where the request began. */
export function hopsTo(context: FaultContext, hops: number, options: HopOptions): string {
  const { record, origin, storageOrigin } = context;
  // A client rightly drops its credentials on the way to another origin, so a blob's trip ends where none are needed.
  const target = new URL(record.kind === 'blob' && options.crossOrigin === true ? context.signBlob({}) : record.url);
  target.searchParams.set(ARRIVED, '1');
  if (hops <= 0) return options.relative === true ? `${target.pathname}${target.search}` : target.href;
  const origins = options.crossOrigin === true ? [storageOrigin, origin] : [origin];
  const trip: Trip = {
    target: target.href,
    hops,
    origins,
    relative: options.relative === true,
    code: options.code ?? 307,
  };
  return urlOf(trip);
}

/** True if a request has come to the end of a chain: no rule meets it again. */
export function hasArrived(query: URLSearchParams): boolean {
  return query.has(ARRIVED);
}

/** Answers /hops/…; undefined for any other path. */
export function answerHop(path: string): Answer | undefined {
  const packed = /^\/hops\/(.+)$/.exec(path)?.[1];
  if (packed === undefined) return undefined;
  if (packed === 'loop') return answer(307, { location: '/hops/pool' });
  if (packed === 'pool') return answer(307, { location: '/hops/loop' });
  const trip = JSON.parse(Buffer.from(packed, 'base64url').toString()) as Trip;
  const next = { ...trip, hops: trip.hops - 1 };
  return answer(trip.code, { location: next.hops > 0 ? urlOf(next) : trip.target });
}

interface Trip {
  readonly target: string;
  readonly hops: number;
  readonly origins: readonly string[];
  readonly relative: boolean;
  readonly code: number;
}

function urlOf(trip: Trip): string {
  const packed = Buffer.from(JSON.stringify(trip)).toString('base64url');
  const origin = trip.relative ? '' : (trip.origins[trip.hops % trip.origins.length] ?? '');
  return `${origin}/hops/${packed}`;
}
