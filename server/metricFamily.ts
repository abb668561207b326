/** One metric with all its samples, as plain data: workers send it to each other. */
export interface MetricFamily {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  /** What becomes of one sample that several workers have. Default: the sum. */
  readonly merge?: 'max' | 'min';
  /** What follows the name: `_bucket{le="1"}`, `{status="200"}`, or nothing; and the value. */
  readonly samples: readonly (readonly [suffix: string, value: number])[];
}

/** What several workers count, as if one had counted all of it. */
export function mergeFamilies(sets: readonly (readonly MetricFamily[])[]): MetricFamily[] {
  const merged = new Map<string, { family: MetricFamily; values: Map<string, number> }>();
  for (const family of sets.flat()) {
    const known = merged.get(family.name) ?? { family, values: new Map<string, number>() };
    merged.set(family.name, known);
    for (const [suffix, value] of family.samples) {
      const other = known.values.get(suffix);
      known.values.set(suffix, other === undefined ? value : mergeValues(family.merge, other, value));
    }
  }
  return [...merged.values()].map(({ family, values }) => ({ ...family, samples: [...values] }));
}

/** Prometheus' text format, 0.0.4. */
export function renderFamilies(families: readonly MetricFamily[]): string {
  const lines = families.flatMap(({ name, type, help, samples }) => [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    ...samples.map(([suffix, value]) => `${name}${suffix} ${value}`),
  ]);
  return `${lines.join('\n')}\n`;
}

function mergeValues(how: MetricFamily['merge'], a: number, b: number): number {
  if (how === undefined) return a + b;
  return how === 'max' ? Math.max(a, b) : Math.min(a, b);
}
