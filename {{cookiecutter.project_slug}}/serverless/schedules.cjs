// When each service is started, as AWS takes it, by service: what workflow.yml says, with a number for the H in the place
// of a cron's minute. It is made from the names of workflow and service: always the same for one client, another for
// others. `Workflow.schedule_of` of the library computes the same.
'use strict';

const { createHash } = require('node:crypto');

function schedule(workflow, service, written) {
  const number = createHash('sha256').update(`${workflow}/${service}`).digest().readUInt32BE(0);
  return written.replace(/^cron\(H(?:\/(\d+))? /, (_, step) => `cron(${step ? `${number % step}/${step}` : number % 60} `);
}

module.exports = async ({ resolveVariable }) => {
  const { name, services } = await resolveVariable('file(workflow.yml)');
  return Object.fromEntries(
    Object.entries(services)
      .filter(([, given]) => given.schedule)
      .map(([service, given]) => [service, schedule(name, service, given.schedule)])
  );
};
