// Lets sls see whether anything changed. It compares what it uploaded last with the zip files in .serverless, where ours
// are not, since `make package` built them: it would deploy each time. So they are copied there just before it looks.
// Layers count too, so each deploy uploads them, even where the version that AWS has stays in use.
'use strict';

const fs = require('fs');
const path = require('path');

module.exports = class Packages {
  constructor(serverless) {
    const { service, serviceDir } = serverless;
    this.hooks = {
      'after:package:compileLayers': () => {
        for (const layer of Object.values(service.layers)) delete layer.artifactAlreadyUploaded;
      },
      'before:aws:deploy:deploy:checkForChanges': () => {
        for (const part of [...Object.values(service.functions), ...Object.values(service.layers)]) {
          const source = path.resolve(serviceDir, part.package.artifact);
          const copy = path.join(serviceDir, '.serverless', path.basename(source));
          if (source !== copy) fs.copyFileSync(source, copy);
        }
      },
    };
  }
};
