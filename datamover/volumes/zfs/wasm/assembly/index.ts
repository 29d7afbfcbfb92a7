export { reset, foldBytes, foldHeader, matches } from './fletcher4';
