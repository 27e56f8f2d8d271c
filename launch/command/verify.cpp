// Which checkpoints of a run are whole, file by file, and whether the rest of its folder is.
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "launch/command/command.h"
#include "launch/command/command_line.h"
#include "trainer/run_check.h"

namespace thinwire::launch {
namespace {

using nlohmann::json;

struct VerifyOptions {
  std::string run;
  bool json = false;
};

json as_json(const std::vector<trainer::CheckpointProblem>& problems) {
  json list = json::array();
  for (const auto& problem : problems) list.push_back({{"file", problem.file}, {"what", problem.what}});
  return list;
}

json as_json(const trainer::RunCheck& run) {
  json steps = json::array(), checkpoints = json::array();
  for (const trainer::StepCheck& step : run.steps) {
    steps.push_back({{"step", step.step}, {"whole", step.whole}});
    for (const trainer::CheckpointCheck& check : step.workers)
      checkpoints.push_back({{"step", check.step},
                             {"worker", check.worker},
                             {"whole", check.whole},
                             {"problems", as_json(check.problems)}});
  }
  return {{"whole", run.is_whole()},
          {"workers", run.workers},
          {"resume_step", run.resume_step ? json(*run.resume_step) : json(nullptr)},
          {"steps", steps},
          {"checkpoints", checkpoints},
          {"problems", as_json(run.problems)}};
}

void print(const trainer::RunCheck& run) {
  for (const trainer::StepCheck& step : run.steps) {
    for (const trainer::CheckpointCheck& check : step.workers) {
      fmt::print("step {} worker {}: {}\n", check.step, check.worker, check.whole ? "whole" : "BROKEN");
      for (const auto& problem : check.problems) fmt::print("  {}: {}\n", problem.file, problem.what);
    }
    fmt::print("step {}: {} {} workers\n", step.step, step.whole ? "whole on all" : "NOT whole on all",
               step.workers.size());
  }
  for (const auto& problem : run.problems) fmt::print("BROKEN {}: {}\n", problem.file, problem.what);
  fmt::print("{}\n", run.resume_step ? fmt::format("a resume goes on from step {}", *run.resume_step)
                                     : "a resume has no step to go on from that all workers hold");
}

int verify(const VerifyOptions& options) {
  if (!std::filesystem::is_directory(options.run))
    throw UsageError(options.run + ": expected the folder of a run");
  const trainer::RunCheck run = trainer::check_run(options.run);
  if (run.steps.empty())
    throw std::runtime_error(options.run + "/checkpoints: expected the checkpoints of a run, found none");
  if (options.json) {
    fmt::print("{}\n", as_json(run).dump(2, ' ', false, json::error_handler_t::replace));
  } else {
    print(run);
  }
  return run.is_whole() ? kSuccess : kRunFailed;
}

}  // namespace

Run declare_verify(const CommandLine& line) {
  auto options = std::make_shared<VerifyOptions>();
  line.option("run", options->run, "The run's folder").required();
  line.flag("--json", options->json,
            "{whole, workers, resume_step, steps, checkpoints, problems} on standard output");
  return [options] { return verify(*options); };
}

}  // namespace thinwire::launch
