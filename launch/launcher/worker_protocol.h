// What a worker process tells its launcher: one JSON object a line on its standard output.
//   {"hello": {"host": "...", "pid": 7}}          first of all
//   {"notice": "..."}                             what it does, or what it will do
//   {"begun": 300}                                it trains, from the step after this one
//   {"stopping": 15}                              it heard a signal that the launcher has not sent
//   {"progress": {...}}                           worker 0
//   {"warning": "..."}
//   {"error": "...", "code": 1, "cause": true}    last words before a failure's exit; cause: not another
//   worker
//   {"end": "stopped", "step": 600, "signal": 15, "summary": {...}}   worker 0, last words
// The job comes to the worker in the environment variable THINWIRE_JOB, so that a worker on another machine
// needs no file of this one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launch/launcher/launcher.h"

namespace thinwire::launch {

constexpr const char* kJobVariable = "THINWIRE_JOB";

std::string job_to_text(const Job& job);
// Throws std::runtime_error for text that job_to_text did not make.
Job job_from_text(const std::string& text);

// "NAME=value" entries that every worker process gets, on other machines too: the job, and settings of its
// threads.
std::vector<std::string> worker_environment(const Job& job);

// True if the launcher ignores SIGHUP, as under nohup: its workers do then, though a starter may have undone
// it.
bool launcher_ignores_hangup(const std::string& job_text);

std::string hello_line();
std::string notice_line(const std::string& text);
std::string begun_line(std::int64_t step);
std::string stopping_line(int signal);
std::string progress_line(const trainer::Progress& progress);
std::string warning_line(const std::string& text);
std::string error_line(const std::string& text, int exit_code, bool is_cause);
std::string end_line(const trainer::RunResult& result);

// One of the lines above, or a foreign one (all members empty).
struct WorkerMessage {
  std::optional<std::string> host;
  std::optional<std::string> notice;
  std::optional<std::int64_t> begun;
  std::optional<int> stopping;
  std::optional<trainer::Progress> progress;
  std::optional<std::string> warning;
  std::optional<std::string> error;
  int exit_code = 0;     // beside an error
  bool is_cause = true;  // beside an error
  std::optional<trainer::RunResult> end;
};
WorkerMessage parse_worker_line(std::string_view line);

}  // namespace thinwire::launch
