// N workers of a new run, or N processes of a user's own program.
#include <fmt/format.h>

#include <chrono>

#include "comm/backend/backend.h"
#include "launch/command/command.h"
#include "launch/command/command_line.h"
#include "launch/command/run_job.h"
#include "launch/config/config.h"
#include "launch/launcher/hosts_file.h"
#include "launch/line_writer.h"
#include "launch/world.h"

namespace thinwire::launch {
namespace {

struct LaunchOptions {
  std::string config;
  int workers = 1;
  std::string backend, link, hosts;
  std::vector<std::string> overrides;
  bool overwrite = false;
  bool dry_run = false;
  bool json = false;
};

// It starts the workers itself.
void refuse_to_be_one_of_several() {
  if (!is_one_of_several()) return;
  throw UsageError(fmt::format(
      "this is one of {} processes that mpirun or srun started, and each would start all workers; start "
      "`thinwire launch` once, or the workers by `mpirun -n N thinwire train CONFIG`",
      surrounding_size()));
}

std::string hosts_of(const LaunchOptions& options) {
  return options.hosts.empty() ? "" : checked_hosts_file(options.hosts);
}

// What would be refused is refused.
int dry_run(const Job& job, const std::vector<std::string>& notes, bool json) {
  find_launcher(job.options.comm.backend);
  if (!job.overwrite) refuse_used_folder(job.options.run.dir, false);
  for (const std::string& note : notes) standard_error().write(note + "\n", LineWriter::Kind::kKept);
  return report_dry_run(job, forecast(job), json);
}

int launch_run(const LaunchOptions& options) {
  std::vector<std::string> overrides = options.overrides;
  if (!options.backend.empty()) overrides.push_back("comm.backend=" + options.backend);
  if (!options.link.empty()) overrides.push_back("comm.link=" + options.link);
  std::vector<std::string> notes;
  const Job job{.options = load_config(options.config, overrides, &notes),
                .workers = options.workers,
                .overwrite = options.overwrite,
                .hosts = hosts_of(options)};
  if (options.dry_run) return dry_run(job, notes, options.json);
  refuse_used_folder(job.options.run.dir, job.overwrite);
  return run_job(job, options.json, notes);
}

int launch_program(const LaunchOptions& options, const std::vector<std::string>& command) {
  if (command.empty()) throw UsageError("nothing to start: expected a config file, or -- and a program");
  if (!options.overrides.empty() || options.json || options.overwrite || options.dry_run) {
    throw UsageError(
        "--set, --overwrite, --dry-run and --json belong to a config file; a program of your own takes what "
        "stands after --");
  }
  const Launcher& launcher = find_launcher(options.backend.empty() ? "mpi" : options.backend);
  if (launcher.run_program == nullptr) {
    throw UsageError(fmt::format(
        "--backend {} starts no processes; use --backend mpi for a program of your own", launcher.name));
  }
  ProgramJob job;
  job.command = command;
  job.workers = options.workers;
  job.hosts = hosts_of(options);
  job.comm.backend = launcher.name;
  if (job.hosts.empty()) comm::require_backend(job.comm.backend);
  if (!options.link.empty()) job.comm.link = options.link;
  ignore_closed_pipes();
  launcher.run_program(job);
  // The program's output is the user's: nothing of it is lost to a slow reader.
  standard_output().flush(std::chrono::hours(24));
  return kSuccess;
}

}  // namespace

Run declare_launch(const CommandLine& line) {
  auto options = std::make_shared<LaunchOptions>();
  line.option("config", options->config, "The config file (see docs/config.md)");
  line.option("-n,--workers", options->workers, "Workers").required().check(whole_number(1));
  line.option("--backend", options->backend, "threads, mpi, nccl or grpc; short for --set comm.backend=...");
  line.option("--link", options->link, "Simulated link, 20mbit/40ms; short for --set comm.link=...");
  line.option("--hosts", options->hosts,
              "A hostfile of Open MPI; program, data and paths alike on every host")
      .check(existing_file());
  line.option("--set", options->overrides, "section.key=value, over the file").once_each();
  line.flag("--overwrite", options->overwrite, "Begin anew in the folder of a run; what goes is said");
  line.flag("--dry-run", options->dry_run, "Say what the run will need and send, and do nothing else");
  line.flag("--json", options->json, "The summary, or what a dry run says, as JSON on standard output");
  return [options, &after_dashes = line.after_dashes] {
    if (!options->config.empty() && !after_dashes.empty()) {
      throw UsageError("expected a config file or a program after --, found both");
    }
    refuse_to_be_one_of_several();
    return options->config.empty() ? launch_program(*options, after_dashes) : launch_run(*options);
  };
}

}  // namespace thinwire::launch
