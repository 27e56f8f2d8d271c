#include "launch/launcher/worker_protocol.h"

#include <unistd.h>

#include <array>
#include <cmath>
#include <csignal>
#include <limits>
#include <nlohmann/json.hpp>

#include "launch/config/config.h"

namespace thinwire::launch {
namespace {

using nlohmann::json;

// Foreign bytes in a message (a file name) must not end a worker.
std::string text_of(const json& object) {
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

// JSON has no NaN: it is written as null.
double number(const json& object, const char* key) {
  const json& value = object.at(key);
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

trainer::Progress progress_from(const json& object) {
  trainer::Progress progress;
  progress.step = object.at("step");
  progress.total_steps = object.at("total_steps");
  progress.loss = number(object, "loss");
  progress.tokens_per_s = number(object, "tokens_per_s");
  progress.wire_bits_per_s = number(object, "wire_bits_per_s");
  progress.seconds_left = number(object, "seconds_left");
  return progress;
}

trainer::RunResult result_from(const json& object) {
  trainer::RunResult result;
  result.end = object.at("end") == "finished" ? trainer::RunEnd::kFinished : trainer::RunEnd::kStopped;
  result.step = object.at("step");
  result.stop_signal = object.value("signal", 0);
  result.summary = object.at("summary");
  return result;
}

bool ignores_hangup() {
  struct sigaction action = {};
  return ::sigaction(SIGHUP, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

std::string job_to_text(const Job& job) {
  return text_of({{"config", to_toml(job.options)},
                  {"workers", job.workers},
                  {"resume", job.resume},
                  {"start_over", job.start_over},
                  {"overwrite", job.overwrite},
                  {"changes", job.changes},
                  {"hosts", job.hosts},
                  {"ignores_hangup", ignores_hangup()}});
}

Job job_from_text(const std::string& text) {
  const json object = json::parse(text, nullptr, false);
  try {
    Job job;
    job.options = parse_config(object.at("config"), kJobVariable, {});
    job.workers = object.at("workers");
    job.resume = object.at("resume");
    job.start_over = object.at("start_over");
    job.overwrite = object.at("overwrite");
    job.changes = object.at("changes");
    job.hosts = object.at("hosts");
    return job;
  } catch (const json::exception&) {
    throw std::runtime_error(std::string(kJobVariable) + ": expected a job as a launcher writes it");
  }
}

bool launcher_ignores_hangup(const std::string& job_text) {
  const json object = json::parse(job_text, nullptr, false);
  return object.is_object() && object.value("ignores_hangup", json(false)) == json(true);
}

std::vector<std::string> worker_environment(const Job& job) {
  return {std::string(kJobVariable) + "=" + job_to_text(job),
          "OMP_NUM_THREADS=" + std::to_string(job.options.run.threads), "OMP_WAIT_POLICY=PASSIVE",
          "OMP_PROC_BIND=FALSE"};
}

std::string hello_line() {
  std::array<char, 256> host = {};
  ::gethostname(host.data(), host.size() - 1);
  return text_of({{"hello", {{"host", host.data()}, {"pid", ::getpid()}}}});
}

std::string notice_line(const std::string& text) {
  return text_of({{"notice", text}});
}

std::string begun_line(std::int64_t step) {
  return text_of({{"begun", step}});
}

std::string stopping_line(int signal) {
  return text_of({{"stopping", signal}});
}

std::string progress_line(const trainer::Progress& progress) {
  return text_of({{"progress",
                   {{"step", progress.step},
                    {"total_steps", progress.total_steps},
                    {"loss", progress.loss},
                    {"tokens_per_s", progress.tokens_per_s},
                    {"wire_bits_per_s", progress.wire_bits_per_s},
                    {"seconds_left", progress.seconds_left}}}});
}

std::string warning_line(const std::string& text) {
  return text_of({{"warning", text}});
}

std::string error_line(const std::string& text, int exit_code, bool is_cause) {
  return text_of({{"error", text}, {"code", exit_code}, {"cause", is_cause}});
}

std::string end_line(const trainer::RunResult& result) {
  return text_of({{"end", result.end == trainer::RunEnd::kFinished ? "finished" : "stopped"},
                  {"step", result.step},
                  {"signal", result.stop_signal},
                  {"summary", result.summary}});
}

WorkerMessage parse_worker_line(std::string_view line) {
  WorkerMessage message;
  const json object = json::parse(line, nullptr, false);
  if (!object.is_object()) return message;
  try {
    if (object.contains("hello")) message.host = object["hello"].at("host");
    if (object.contains("notice")) message.notice = object["notice"];
    if (object.contains("begun")) message.begun = object["begun"];
    if (object.contains("stopping")) message.stopping = object["stopping"];
    if (object.contains("progress")) message.progress = progress_from(object["progress"]);
    if (object.contains("warning")) message.warning = object["warning"];
    if (object.contains("error")) {
      message.exit_code = object.at("code");
      message.is_cause = object.at("cause");
      message.error = object["error"];
    }
    if (object.contains("end")) message.end = result_from(object);
  } catch (const json::exception&) {
    return {};  // a program's own JSON that looks like ours
  }
  return message;
}

}  // namespace thinwire::launch
