// A run's folder: who owns it, and the logs in it.
//
//   config.toml metrics.jsonl commits.jsonl summary.json tokenizer checkpoints/ tensorboard/
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

namespace thinwire::trainer {

// True if the folder holds a run (config.toml, checkpoints or logs).
bool holds_run(const std::string& dir);

// An exclusive lock on a run folder (flock on RUN/.lock), released by the destructor or by the process's death.
// Throws std::runtime_error that names the folder and the owner's process id when another run holds it.
class RunLock {
 public:
  explicit RunLock(const std::string& dir);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int fd_;
};

// A file of one JSON object a line, each with an integer "step". Lines are written whole.
// A write that fails (a full disk) is reported once by a warning through `ok()`, and the run goes on.
class JsonLines {
 public:
  // keep_through: lines whose step is greater are dropped (a resume from a checkpoint); -1 starts anew.
  JsonLines(const std::string& path, std::int64_t keep_through);
  ~JsonLines();
  void write(const nlohmann::json& record);
  bool ok() const { return ok_; }

 private:
  int fd_;
  bool ok_ = true;
};

// Replaces a file at once: written beside, synced, renamed. Throws std::system_error.
void write_file_atomically(const std::string& path, const std::string& bytes);

}  // namespace thinwire::trainer
