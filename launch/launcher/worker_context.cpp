#include "launch/launcher/worker_context.h"

#include "launch/config/config.h"
#include "launch/launch_record.h"

namespace thinwire::launch {

trainer::WorkerContext worker_context(const Job& job, int workers) {
  trainer::WorkerContext context;
  context.options = job.options;
  context.config_toml = to_toml(job.options);
  context.shared_config = shared_config(job.options);
  context.launch_record = launch_record_text(job, workers);
  context.resume = job.resume;
  context.start_over = job.start_over;
  context.overwrite = job.overwrite;
  if (job.overwrite) context.shared_config += "--overwrite\n";
  context.changes = job.changes;
  context.to_toml = to_toml;
  return context;
}

}  // namespace thinwire::launch
