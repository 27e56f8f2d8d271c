#include "trainer/run_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <limits>
#include <stdexcept>
#include <string_view>
#include <system_error>

namespace thinwire::trainer {
namespace {

namespace fs = std::filesystem;

// "process 123 on host name", as the owner wrote it.
std::string owner_of(int lock_fd) {
  std::array<char, 256> text{};
  const ssize_t n = ::pread(lock_fd, text.data(), text.size(), 0);
  return n > 0 ? std::string(text.data(), static_cast<std::size_t>(n))
               : "a process that did not leave its number";
}

void sign(int lock_fd) {
  std::array<char, 128> host{};
  ::gethostname(host.data(), host.size() - 1);
  const std::string owner = fmt::format("process {} on host {}", ::getpid(), host.data());
  // For messages only: a full disk does not keep a run from starting.
  [[maybe_unused]] const bool signed_ =
      ::ftruncate(lock_fd, 0) == 0 && ::pwrite(lock_fd, owner.data(), owner.size(), 0) > 0;
}

Descriptor lock_folder(const std::string& dir) {
  fs::create_directories(dir);
  const std::string path = fs::path(dir) / ".lock";
  Descriptor fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644));
  if (fd.get() < 0) throw std::system_error(errno, std::generic_category(), "open " + path);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) throw std::system_error(errno, std::generic_category(), "lock " + path);
    throw std::runtime_error(
        fmt::format("the run folder {} is in use by {}; wait for it to end, or choose another run.dir", dir,
                    owner_of(fd.get())));
  }
  sign(fd.get());
  return fd;
}

bool is_kept(std::string_view line, std::int64_t keep_through) {
  const auto record = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!record.is_object() || !record.contains("step") || !record["step"].is_number_integer()) return false;
  return record["step"].get<std::int64_t>() <= keep_through;
}

std::string kept_lines(std::string_view text, std::int64_t keep_through) {
  std::string kept;
  for (std::size_t end; (end = text.find('\n')) != std::string_view::npos; text.remove_prefix(end + 1)) {
    if (is_kept(text.substr(0, end), keep_through)) kept += text.substr(0, end + 1);
  }
  return kept;
}

// Leaves in the file what is to be kept and returns its name. Cutting at the end needs no room on the disk.
const std::string& drop_lines_past(const std::string& path, std::int64_t keep_through) {
  if (!fs::exists(path)) return path;
  const std::string text =
      keep_through < 0 ? "" : read_whole_file(path, std::numeric_limits<std::int64_t>::max());
  const std::string kept = kept_lines(text, keep_through);
  if (text.compare(0, kept.size(), kept) == 0) {
    fs::resize_file(path, kept.size());
  } else {
    write_file_atomically(path, kept);
  }
  return path;
}

}  // namespace

bool holds_run(const std::string& dir) {
  try {
    if (!fs::exists(dir)) return false;
    if (!fs::is_directory(dir)) throw std::runtime_error(dir + ": expected a run's folder, found a file");
    for (const char* name :
         {"config.toml", "checkpoints", "metrics.jsonl", "commits.jsonl", "summary.json"}) {
      if (fs::exists(fs::symlink_status(fs::path(dir) / name))) return true;
    }
    return false;
  } catch (const fs::filesystem_error& error) {
    throw std::runtime_error(
        fmt::format("cannot look into the run folder {}: {}", dir, error.code().message()));
  }
}

RunLock::RunLock(const std::string& dir) : fd_(lock_folder(dir)) {}

JsonLines::JsonLines(const std::string& path, std::int64_t keep_through)
    : file_(drop_lines_past(path, keep_through)) {}

void JsonLines::write(const nlohmann::json& record) {
  const std::string line = record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  if (!file_.append(line)) ok_ = false;
}

bool append_history(const std::string& run_dir, const nlohmann::json& record) {
  AppendFile file(run_dir + "/history.jsonl");
  return file.append(record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void write_file_atomically(const std::string& path, const std::string& bytes) {
  const std::string beside = path + ".tmp";
  try {
    OutputFile file(beside);
    file.write(bytes);
    file.sync();
    if (::rename(beside.c_str(), path.c_str()) != 0) {
      throw std::system_error(errno, std::generic_category(), fmt::format("rename {} to {}", beside, path));
    }
  } catch (...) {
    std::error_code ignored;
    fs::remove(beside, ignored);
    throw;
  }
  const std::string folder = fs::path(path).parent_path();
  sync_directory(folder.empty() ? "." : folder);
}

}  // namespace thinwire::trainer
