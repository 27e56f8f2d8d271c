// Which checkpoints of a run are whole, file by file.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "launch/command/command.h"
#include "trainer/checkpoint.h"

namespace thinwire::launch {
namespace {

struct VerifyOptions {
  std::string run;
  bool json = false;
};

nlohmann::json as_json(const std::vector<trainer::CheckpointCheck>& checks) {
  auto rows = nlohmann::json::array();
  for (const trainer::CheckpointCheck& check : checks) {
    auto problems = nlohmann::json::array();
    for (const auto& problem : check.problems)
      problems.push_back({{"file", problem.file}, {"what", problem.what}});
    rows.push_back(
        {{"step", check.step}, {"worker", check.worker}, {"whole", check.whole}, {"problems", problems}});
  }
  return rows;
}

void print(const std::vector<trainer::CheckpointCheck>& checks) {
  for (const trainer::CheckpointCheck& check : checks) {
    fmt::print("step {} worker {}: {}\n", check.step, check.worker, check.whole ? "whole" : "BROKEN");
    for (const auto& problem : check.problems) fmt::print("  {}: {}\n", problem.file, problem.what);
  }
}

int verify(const VerifyOptions& options) {
  if (!std::filesystem::is_directory(options.run))
    throw UsageError(options.run + ": expected the folder of a run");
  const auto checks = trainer::verify_checkpoints(options.run);
  if (options.json) {
    fmt::print("{}\n", as_json(checks).dump(2));
  } else {
    print(checks);
  }
  if (checks.empty()) throw std::runtime_error(options.run + ": holds no checkpoint");
  const bool all_whole =
      std::all_of(checks.begin(), checks.end(), [](const auto& check) { return check.whole; });
  return all_whole ? kSuccess : kRunFailed;
}

}  // namespace

Run declare_verify(const CommandLine& line) {
  auto options = std::make_shared<VerifyOptions>();
  line.app.add_option("run", options->run, "The run's folder")->required();
  line.app.add_flag("--json", options->json, "A list of {step, worker, whole, problems} on standard output");
  return [options] { return verify(*options); };
}

}  // namespace thinwire::launch
