#include "trainer/run_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <limits>
#include <optional>
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

constexpr std::string_view kCheckStart = "{\"check\":\"";
constexpr std::size_t kCheckDigits = 16;
constexpr std::string_view kSealStart = "# xxh3_128 ";
constexpr std::uint64_t kMaxSealedBytes = 16 << 20;
constexpr char kHashMember[] = "xxh3_128";

std::string dump(const nlohmann::json& value) {
  return value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string check_of(std::string_view object) {
  return xxh3_128_hex(object).substr(0, kCheckDigits);
}

// The text of an object with its check as the first member; nothing sorts before it.
std::string with_check(const std::string& object) {
  return fmt::format("{}{}\",{}", kCheckStart, check_of(object), object.substr(1));
}

struct Line {
  std::int64_t number = 0, step = 0;
  nlohmann::json record;
};

// Nothing for what no writer of ours has written.
std::optional<Line> parse_line(std::string_view text) {
  const std::size_t head = kCheckStart.size() + kCheckDigits + 2;
  if (text.size() <= head || !text.starts_with(kCheckStart) || text.substr(head - 2, 2) != "\",") return {};
  std::string object = "{";
  object += text.substr(head);
  if (text.substr(kCheckStart.size(), kCheckDigits) != check_of(object)) return {};
  Line line{.record = nlohmann::json::parse(object, nullptr, /*allow_exceptions=*/false)};
  const auto integer = [&](const char* name, std::int64_t& into) {
    if (!line.record.is_object() || !line.record.contains(name) || !line.record[name].is_number_integer())
      return false;
    into = line.record[name].get<std::int64_t>();
    return true;
  };
  return integer("line", line.number) && integer("step", line.step) ? std::optional(line) : std::nullopt;
}

struct Log {
  std::string text;  // of the lines below
  std::vector<Line> lines;
};

// The good lines of steps up to `through`, in the order of their numbers.
Log read_log(const std::string& path, std::int64_t through) {
  Log log;
  if (through < 0 || !fs::exists(path)) return log;
  const std::string bytes = read_whole_file(path, std::numeric_limits<std::int64_t>::max());
  std::string_view rest = bytes;
  for (std::size_t end; (end = rest.find('\n')) != std::string_view::npos; rest.remove_prefix(end + 1)) {
    const auto line = parse_line(rest.substr(0, end));
    const std::int64_t before = log.lines.empty() ? 0 : log.lines.back().number;
    if (!line || line->step > through || line->number <= before) continue;
    log.text += rest.substr(0, end + 1);
    log.lines.push_back(*line);
  }
  return log;
}

LostLines lost_of(const Log& log, std::int64_t through, std::int64_t written) {
  LostLines lost;
  std::int64_t number = 0, step = std::min<std::int64_t>(1, through);  // of the last line that is there
  const auto gap_before = [&](std::int64_t next_number, std::int64_t next_step) {
    const std::int64_t missing = next_number - number - 1;
    if (missing <= 0) return;
    lost.count += missing;
    lost.steps += fmt::format(
        "{}{}", lost.steps.empty() ? "" : ", ",
        step == next_step ? fmt::format("step {}", step) : fmt::format("steps {} to {}", step, next_step));
  };
  for (const Line& line : log.lines) {
    if (line.number > written) break;
    gap_before(line.number, line.step);
    number = line.number;
    step = line.step;
  }
  gap_before(written + 1, through);
  return lost;
}

// Leaves in the file what is to be kept. Cutting at the end needs no room on the disk.
void keep_only(const std::string& path, const std::string& kept) {
  if (!fs::exists(path)) return;
  require_plain_file(path);
  const std::string text =
      kept.empty() ? "" : read_whole_file(path, std::numeric_limits<std::int64_t>::max());
  if (text.starts_with(kept)) {
    fs::resize_file(path, kept.size());
  } else {
    write_file_atomically(path, kept);
  }
}

// What tells records of one step apart, where there are several: which members they have.
std::string shape_of(const nlohmann::json& record) {
  std::string shape;
  for (const auto& [name, value] : record.items()) {
    if (name != "line") shape += name == "step" ? "step=" + value.dump() + " " : name + " ";
  }
  return shape;
}

}  // namespace

namespace {

void require_no_loose_link(fs::path path) {
  if (!path.has_filename()) path = path.parent_path();  // "run/"
  if (!fs::is_symlink(fs::symlink_status(path)) || fs::exists(path)) return;
  throw std::runtime_error(
      fmt::format("{}: is a link that leads nowhere, to {}; make that folder, or remove the link",
                  path.string(), fs::read_symlink(path).string()));
}

}  // namespace

bool holds_run(const std::string& dir) {
  try {
    require_no_loose_link(dir);
    if (!fs::exists(dir)) return false;
    if (!fs::is_directory(dir)) throw std::runtime_error(dir + ": expected a run's folder, found a file");
    for (const char* name : {"config.toml", "metrics.jsonl", "commits.jsonl", "summary.json"}) {
      if (fs::exists(fs::symlink_status(fs::path(dir) / name))) return true;
    }
    const fs::path checkpoints = fs::path(dir) / "checkpoints";
    require_no_loose_link(checkpoints);
    return fs::exists(checkpoints) && !(fs::is_directory(checkpoints) && fs::is_empty(checkpoints));
  } catch (const fs::filesystem_error& error) {
    throw std::runtime_error(
        fmt::format("cannot look into the run folder {}: {}", dir, error.code().message()));
  }
}

std::optional<std::int64_t> number_after(std::string_view prefix, std::string_view name) {
  if (!name.starts_with(prefix)) return std::nullopt;
  std::int64_t number = 0;
  std::from_chars(name.data() + prefix.size(), name.data() + name.size(), number);
  return number >= 0 && name == fmt::format("{}{}", prefix, number) ? std::optional(number) : std::nullopt;
}

RunLock::RunLock(const std::string& dir) : fd_(lock_folder(dir)) {}

std::string RunLock::owner(const std::string& dir) {
  const Descriptor fd(
      ::open((fs::path(dir) / ".lock").c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  return fd.get() < 0 ? "" : owner_of(fd.get());
}

JsonLines::JsonLines(const std::string& path, std::int64_t keep_through, std::int64_t written)
    : lines_(written), file_(open(path, keep_through)) {}

AppendFile JsonLines::open(const std::string& path, std::int64_t keep_through) {
  const Log log = read_log(path, keep_through);
  lost_ = lost_of(log, keep_through, lines_);
  for (const Line& line : log.lines) {
    if (line.number <= lines_) continue;
    after_checkpoint_.push_back(shape_of(line.record));
    lines_ = line.number;
  }
  keep_only(path, log.text);
  return AppendFile(path);
}

bool JsonLines::write(const nlohmann::json& record) {
  if (std::find(after_checkpoint_.begin(), after_checkpoint_.end(), shape_of(record)) !=
      after_checkpoint_.end())
    return false;
  nlohmann::json numbered = record;
  numbered["line"] = ++lines_;
  const std::string text = numbered.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (!file_.append(with_check(text) + "\n")) ok_ = false;
  return true;
}

void JsonLines::sync() {
  if (!file_.sync()) ok_ = false;
}

LostLines lost_lines(const std::string& path, std::int64_t through, std::int64_t written) {
  return lost_of(read_log(path, through), through, written);
}

std::string sealed(const std::string& text) {
  return fmt::format("{}{}{}\n", text, kSealStart, xxh3_128_hex(text));
}

void require_seal(const std::string& path) {
  const std::string bytes = read_whole_file(path, kMaxSealedBytes);
  const std::size_t seal = bytes.rfind(kSealStart);
  const bool has_seal = seal != std::string::npos && (seal == 0 || bytes[seal - 1] == '\n');
  const std::string text = has_seal ? bytes.substr(0, seal) : bytes;
  if (has_seal && bytes == sealed(text)) return;
  throw std::runtime_error(fmt::format(
      "{}: expected the hash of the text above in the last line, found {}: the file is damaged, or was "
      "edited. "
      "Settings of a run change by thinwire resume RUN --set section.key=value; if the text is right as it "
      "stands, let its last line be\n{}{}",
      path, has_seal ? "another hash" : "no such line", kSealStart, xxh3_128_hex(text)));
}

std::string hashed_json(nlohmann::json object) {
  object.erase(kHashMember);
  object[kHashMember] = xxh3_128_hex(dump(object));
  return dump(object);
}

nlohmann::json read_hashed_json(const std::string& path) {
  const std::string text = read_whole_file(path, kMaxSealedBytes);
  const auto object = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || hashed_json(object) != text)
    throw std::runtime_error(fmt::format(
        "{}: expected JSON with its own hash as \"{}\", found another text: the file is damaged or "
        "was edited",
        path, kHashMember));
  return object;
}

void require_digest(const std::string& path, const std::string& xxh3_128, const std::string& said_by) {
  if (!fs::exists(path))
    throw std::runtime_error(
        fmt::format("{}: expected a file with XXH3-128 {}, as {} says, found nothing; "
                    "put the file back",
                    path, xxh3_128, said_by));
  const std::string found = digest_file(path).xxh3_128;
  if (found != xxh3_128)
    throw std::runtime_error(
        fmt::format("{}: expected XXH3-128 {}, as {} says, found {}: the file is damaged, "
                    "put the right one back",
                    path, xxh3_128, said_by, found));
}

bool append_history(const std::string& run_dir, const nlohmann::json& record) {
  AppendFile file(run_dir + "/history.jsonl");
  return file.append(record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void write_file_atomically(const std::string& path, const std::string& bytes) {
  if (!fs::is_symlink(fs::symlink_status(path))) require_plain_file(path);
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
