export { rabinInit, rabinFind } from './rabin';
export { poly1305 } from './poly1305';
export { zeroPrefix, equal } from './zero';
