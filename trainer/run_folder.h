// A run's folder: who owns it, and the logs in it.
//
// config.toml launch.json history.jsonl metrics.jsonl commits.jsonl summary.json tokenizer checkpoints/
// tensorboard/ cache/
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "trainer/format/file_io.h"

namespace thinwire::trainer {

// True if the folder holds a run: its config, checkpoints or logs. False for a folder that is empty or not
// there. Throws std::runtime_error if it cannot be looked into or is no folder.
bool holds_run(const std::string& dir);

// An exclusive lock on a run folder (flock on RUN/.lock), released by the destructor or by the process's
// death. Makes the folder where there is none. Throws std::runtime_error that names the folder and the
// owner's process id and host when another run holds it, and std::system_error when the lock cannot be made.
class RunLock {
 public:
  explicit RunLock(const std::string& dir);

 private:
  Descriptor fd_;
};

// A file of one JSON object a line, each with an integer "step". Lines are written whole.
// A write that fails (a full disk) clears ok() for good, and the run goes on; each later record is tried
// again.
class JsonLines {
 public:
  // keep_through: lines whose step is greater are dropped (a resume from a checkpoint), and so is what is no
  // such line, as the last one after a crash may be; -1 starts anew. Throws std::system_error or
  // std::runtime_error if the file cannot be read or opened.
  JsonLines(const std::string& path, std::int64_t keep_through);
  // NaN and infinities are written as null.
  void write(const nlohmann::json& record);
  bool ok() const { return ok_; }

 private:
  AppendFile file_;
  bool ok_ = true;
};

// Appends a record to RUN/history.jsonl: how often the run was started, at which step, and what was changed
// then. Lines are never dropped. False if it could not be written (a full disk).
bool append_history(const std::string& run_dir, const nlohmann::json& record);

// Replaces a file at once: written beside (PATH.tmp), synced, renamed. A link at `path` is replaced, not
// followed. Throws std::system_error and leaves the older file as it was. One writer of a path at a time.
void write_file_atomically(const std::string& path, const std::string& bytes);

}  // namespace thinwire::trainer
