/** The registry of images that name none, when the manifest names none either. */
export const defaultRegistry = 'higress-registry.cn-hangzhou.cr.aliyuncs.com';
