export { reset, foldBytes, foldHeader, matches, put } from './fletcher4';
