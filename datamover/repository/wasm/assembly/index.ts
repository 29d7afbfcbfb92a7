export { rabinInit, rabinFind } from './rabin';
export { zeroPrefix } from './zero';
