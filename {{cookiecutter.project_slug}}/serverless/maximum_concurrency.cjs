// Most functions that may work on a service's queue at once, by service: the number that workflow.yml gives.
// The words `serial` (a FIFO queue sees to it) and `unbounded` mean no number, for which YAML alone has no expression.
'use strict';

module.exports = async ({ resolveVariable }) => {
  const services = await resolveVariable('file(workflow.yml):services');
  return Object.fromEntries(
    Object.entries(services).map(([service, { concurrency }]) => [service, Number.isInteger(concurrency) ? concurrency : null])
  );
};
