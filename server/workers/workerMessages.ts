import type { MetricFamily } from '../metricFamily.ts';
import type { Stop } from '../startServer.ts';

/** What a worker tells the process that started it. Questions carry an id, and the answer the same. */
export type FromWorker =
  | { readonly kind: 'listening'; readonly url: string; readonly port: number }
  | { readonly kind: 'counted'; readonly id: number; readonly families: readonly MetricFamily[] }
  | { readonly kind: 'scrape'; readonly id: number }
  | { readonly kind: 'log'; readonly id: number; readonly text: string }
  | { readonly kind: 'stopped'; readonly cut: number };

export type ToWorker =
  | { readonly kind: 'collect'; readonly id: number }
  | { readonly kind: 'scraped'; readonly id: number; readonly families: readonly MetricFamily[] }
  | { readonly kind: 'logged'; readonly id: number }
  | { readonly kind: 'stop'; readonly stop: Stop };
