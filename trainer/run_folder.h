// A run's folder: who owns it, and the logs in it.
//
// config.toml launch.json history.jsonl metrics.jsonl commits.jsonl summary.json tokenizer checkpoints/
// tensorboard/ cache/
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/format/file_io.h"

namespace thinwire::trainer {

// True if the folder holds a run: its config, checkpoints or logs. False for a folder that is empty or not
// there; empty folders in it are no run. Throws std::runtime_error if it cannot be looked into, is no folder,
// or is or holds a link that leads nowhere.
bool holds_run(const std::string& dir);

// N of a name "<prefix>N" ("step-20", "worker-0") as a run writes it; other names are not a run's.
std::optional<std::int64_t> number_after(std::string_view prefix, std::string_view name);

// An exclusive lock on a run folder (flock on RUN/.lock), released by the destructor or by the process's
// death. Makes the folder where there is none. Throws std::runtime_error that names the folder and the
// owner's process id and host when another run holds it, and std::system_error when the lock cannot be made.
class RunLock {
 public:
  explicit RunLock(const std::string& dir);

  // Who holds the lock of a folder, or held it last, for comparing and for messages: "process 123 on host
  // name". Empty where nothing says it.
  static std::string owner(const std::string& dir);

 private:
  Descriptor fd_;
};

// Lines of a log that should be there and are not: lost, cut off or damaged.
struct LostLines {
  std::int64_t count = 0;
  std::string steps;  // "steps 12 to 20, step 25"; they lie between these
};

// A file of one JSON object a line, each with an integer "step". A line knows its place and its hash, so that
// a changed byte, a cut or a missing line is found out:
//
//   {"check":"<16 hex digits>", ..., "line":7, ..., "step":40, ...}
//
// check: the first half of the XXH3-128 of the line without this member; line: counts from 1 over the whole
// run. Lines are written whole. A write that fails (a full disk) clears ok() for good, and the run goes on;
// each later record is tried again.
class JsonLines {
 public:
  // keep_through: lines of later steps are dropped (a resume from a checkpoint), and so is what is no such
  // line, as the last one after a crash may be; -1 starts anew. written: lines() as of that checkpoint.
  // Throws std::system_error or std::runtime_error if the file cannot be read or opened.
  JsonLines(const std::string& path, std::int64_t keep_through, std::int64_t written = 0);

  // NaN and infinities are written as null. False, and nothing is written, if the log holds this record
  // already: what a run writes after its last checkpoint, it writes again when it is resumed there.
  bool write(const nlohmann::json& record);
  // Makes what was written durable.
  void sync();
  bool ok() const { return ok_; }

  // Lines so far, those that could not be written included.
  std::int64_t lines() const { return lines_; }
  // What had been written by the checkpoint and is not in the file.
  const LostLines& lost() const { return lost_; }

 private:
  AppendFile open(const std::string& path, std::int64_t keep_through);

  std::vector<std::string> after_checkpoint_;  // the shapes of the records that the file has beyond `written`
  LostLines lost_;
  std::int64_t lines_ = 0;
  AppendFile file_;
  bool ok_ = true;
};

// The same for a log that is left as it is: what of its first `written` lines, of steps up to `through`, is
// missing.
LostLines lost_lines(const std::string& path, std::int64_t through, std::int64_t written);

// Appends a record to RUN/history.jsonl: how often the run was started, at which step, and what was changed
// then. Lines are never dropped. False if it could not be written (a full disk).
bool append_history(const std::string& run_dir, const nlohmann::json& record);

// A text file with a hash of itself, for config.toml: a last line "# xxh3_128 <32 hex digits>", of what
// stands above it.
std::string sealed(const std::string& text);
// Throws std::runtime_error that names the file if its text is not what its last line says, or if it has
// none.
void require_seal(const std::string& path);

// The same for an object of JSON: its text, with its hash as the member "xxh3_128".
std::string hashed_json(nlohmann::json object);
// Throws std::runtime_error that names the file if it is not as hashed_json wrote it.
nlohmann::json read_hashed_json(const std::string& path);

// Throws std::runtime_error that names the file if its bytes do not have this XXH3-128, or if it is not
// there. said_by: who knows the hash, for the message.
void require_digest(const std::string& path, const std::string& xxh3_128, const std::string& said_by);

// Replaces a file of ours at once: written beside (PATH.tmp), synced, renamed. A link at `path` is replaced,
// not followed. Throws std::system_error and leaves the older file as it was; std::runtime_error if something
// else than a file stands there. One writer of a path at a time. For a user's path: format/output_path.h.
void write_file_atomically(const std::string& path, const std::string& bytes);

}  // namespace thinwire::trainer
