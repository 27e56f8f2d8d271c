#include "trainer/format/output_path.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string_view>
#include <system_error>

namespace thinwire::trainer {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 4> kStandardOutput = {"-", "/dev/stdout", "/dev/fd/1",
                                                             "/proc/self/fd/1"};
constexpr int kMaxLinks = 40;  // as the kernel's own limit

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw std::invalid_argument(
      fmt::format("{}: {}; expected a plain file or nothing there, or - for standard output", path, why));
}

// Where a file at `path` would lie, though it may not be there yet.
fs::path follow_links(const std::string& path) {
  fs::path target = path;
  for (int links = 0; fs::is_symlink(fs::symlink_status(target)); ++links) {
    if (links == kMaxLinks) refuse(path, "too many symbolic links");
    const fs::path next = fs::read_symlink(target);
    target = next.is_absolute() ? next : target.parent_path() / next;
  }
  return target;
}

fs::path folder_of(const fs::path& target) {
  return target.has_parent_path() ? target.parent_path() : fs::path(".");
}

// The permissions of the file that is replaced, so that a private one stays private.
void keep_permissions(const std::string& target, const std::string& beside) {
  struct stat info {};
  if (::stat(target.c_str(), &info) == 0) fs::permissions(beside, fs::perms(info.st_mode & 07777));
}

}  // namespace

OutputPath::OutputPath(const std::string& path) {
  if (std::find(kStandardOutput.begin(), kStandardOutput.end(), path) != kStandardOutput.end()) return;
  if (path.empty()) refuse("\"\"", "no name of a file");
  if (path.back() == '/') refuse(path, "the name of a folder");
  try {
    require_plain_file(path);
    const fs::path target = follow_links(path);
    const fs::path folder = folder_of(target);
    if (!fs::is_directory(folder)) refuse(path, "there is no folder " + folder.string());
    if (::access(folder.c_str(), W_OK | X_OK) != 0)
      refuse(path,
             fmt::format("the folder {} may not be written to ({})", folder.string(), std::strerror(errno)));
    target_ = target;
  } catch (const fs::filesystem_error& error) {
    refuse(path, error.code().message());
  } catch (const std::runtime_error& error) {
    throw std::invalid_argument(std::string(error.what()) + "; it is left as it is: choose another path");
  }
}

void OutputPath::write(const std::function<void(OutputFile&)>& body) const {
  if (is_stream()) {
    OutputFile stream = OutputFile::standard_output();
    body(stream);
    stream.sync();
    return;
  }
  const std::string beside = fmt::format("{}.{}.tmp", target_, ::getpid());
  try {
    OutputFile file(beside);
    body(file);
    file.sync();
    keep_permissions(target_, beside);
    require_plain_file(target_);
    if (::rename(beside.c_str(), target_.c_str()) != 0)
      throw std::system_error(errno, std::generic_category(),
                              fmt::format("rename {} to {}", beside, target_));
  } catch (...) {
    ::unlink(beside.c_str());
    throw;
  }
  sync_directory(folder_of(target_));
}

}  // namespace thinwire::trainer
