export { formatPythonLiteral } from './format-literal.ts';
export { NdArray, NumpyScalar, type Dtype } from './numpy.ts';
export { parsePythonLiteral } from './parse-literal.ts';
export { readPickle } from './read-pickle.ts';
export {
  float,
  plain,
  PyByteArray,
  PyFloat,
  PyFrozenSet,
  PyTuple,
  tuple,
  type Plain,
  type PyDict,
  type PySet,
  type PythonInput,
  type PythonValue,
} from './values.ts';
export { writePickle, type PickleProtocol } from './write-pickle.ts';
