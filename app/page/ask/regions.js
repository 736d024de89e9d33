// To come.
export const regions = () => null;
