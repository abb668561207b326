import type { IncomingMessage } from 'node:http';
import type { Answer } from './answer.ts';
import type { Delivery } from './delivery.ts';
import type { RequestKind, RequestRecord } from './records.ts';

/** What a fault can reach while it changes an answer. */
export interface FaultContext {
  readonly request: IncomingMessage;
  readonly record: RequestRecord;
  /** Origin that was asked, and the object storage's, which is another one. */
  readonly origin: string;
  readonly storageOrigin: string;
  /** A signed URL for the blob that was asked for, which stops working (403) at its limits. */
  signBlob(limits: UrlLimits): string;
  expireTokens(): void;
}

export interface UrlLimits {
  /** Requests that the URL answers. Default: any number. */
  readonly uses?: number;
  /** The URL stops answering once so many body bytes went over it; a body under way still finishes. */
  readonly bytes?: number;
}

/** One thing that goes wrong, made by the functions of faults.ts. */
export interface Fault {
  /** Written to `RequestRecord.fault`. */
  readonly name: string;
  /** Runs before the registry thinks about the request. */
  before?(context: FaultContext): void;
  /** Changes what it was about to say. */
  rewrite?(said: Answer, context: FaultContext): Answer;
  /** Changes how that travels. */
  readonly delivery?: Delivery;
}

/** Which requests meet which fault. All given conditions must fit. The first rule that fits and is due acts, alone. */
export interface FaultRule {
  readonly kind?: RequestKind;
  readonly server?: RequestRecord['server'];
  readonly method?: string;
  /** Matched against the path, without the query. */
  readonly path?: RegExp;
  /** Only requests with (true) or without (false) a Range header. */
  readonly ranged?: boolean;
  readonly when?: (record: RequestRecord) => boolean;
  /** Only the nth fitting requests, counted from 1. */
  readonly nth?: number | readonly number[];
  /** Only the first so many fitting requests. */
  readonly first?: number;
  /** All but the first so many fitting requests. */
  readonly after?: number;
  /** Count fitting requests together (`rule`, the default) or for each path by itself. */
  readonly per?: 'rule' | 'path';
  /** One fault, or several that act together (`[chunked(), reset({ afterBytes: 10 })]`). */
  readonly fault: Fault | readonly Fault[];
}

/** Rules, and how often each was met. */
export class Script {
  readonly #rules: readonly FaultRule[];
  readonly #met: Map<string, number>[];

  constructor(rules: readonly FaultRule[]) {
    this.#rules = rules;
    this.#met = rules.map(() => new Map());
  }

  /** The faults that this request meets; every rule that fits it counts it, whichever acts. */
  faultsFor(record: RequestRecord): readonly Fault[] {
    const due = this.#rules.filter((rule, index) => {
      if (!fits(rule, record)) return false;
      const counts = this.#met[index];
      const key = rule.per === 'path' ? record.path : '';
      const count = (counts?.get(key) ?? 0) + 1;
      counts?.set(key, count);
      return isDue(rule, count);
    });
    const fault = due[0]?.fault ?? [];
    return Array.isArray(fault) ? fault : [fault as Fault];
  }
}

function fits(rule: FaultRule, record: RequestRecord): boolean {
  return (
    (rule.kind === undefined || rule.kind === record.kind) &&
    (rule.server === undefined || rule.server === record.server) &&
    (rule.method === undefined || rule.method === record.method) &&
    (rule.path === undefined || record.path.search(rule.path) >= 0) &&
    (rule.ranged === undefined || rule.ranged === (record.headers.range !== undefined)) &&
    (rule.when === undefined || rule.when(record))
  );
}

function isDue(rule: FaultRule, count: number): boolean {
  const nth = rule.nth === undefined ? undefined : [rule.nth].flat();
  return (nth === undefined || nth.includes(count)) && count <= (rule.first ?? count) && count > (rule.after ?? 0);
}
