import pMap from 'p-map';
import { inspectVersion } from '../tree/inspectVersion.ts';
import type { Stamps } from '../tree/stamps.ts';
import type { Present } from './plan.ts';
import { versionKey } from './report.ts';

export interface SurveyOptions {
  /** Hash every byte even where size, times and inode are as they were at publishing. Default false. */
  readonly rehash?: boolean;
  readonly stamps?: Stamps;
  /** The image of an index that the user asks for; a version of another platform counts as not there. */
  readonly platform?: string;
  readonly signal: AbortSignal;
}

/** Looks at what stands in the tree of the versions named: whole and true to its metadata, damaged, or missing. */
export async function surveyTree(
  treeDir: string,
  versions: readonly { readonly name: string; readonly version: string }[],
  options: SurveyOptions,
): Promise<Map<string, Present>> {
  const { rehash, stamps, platform, signal } = options;
  const found = await pMap(
    versions,
    async (it): Promise<[string, Present]> => {
      const state = await inspectVersion(treeDir, it.name, it.version, {
        signal,
        ...(rehash === undefined ? {} : { rehash }),
        ...(stamps === undefined ? {} : { stamps }),
      });
      return [versionKey(it), ofOtherPlatform(state, platform)];
    },
    { concurrency: 8, signal },
  );
  return new Map(found);
}

function ofOtherPlatform(state: Present, platform: string | undefined): Present {
  if (state.state !== 'sound' || platform === undefined) return state;
  const { platform: present } = state.metadata;
  if (present === undefined || present === platform || present.startsWith(`${platform}/`)) return state;
  return {
    state: 'damaged',
    problems: [`it is the image for ${present}, asked for is ${platform}`],
    metadata: state.metadata,
  };
}
