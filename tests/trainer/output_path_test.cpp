#include "trainer/format/output_path.h"

#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>

#include "tests/trainer/child_process.h"
#include "tests/trainer/temporary_folder.h"

namespace thinwire::trainer {
namespace {

namespace fs = std::filesystem;
using test::in_child;
using test::limit_files_to;
using test::message_of;
using test::read_bytes;
using test::TemporaryFolder;
using test::write_bytes;
using ::testing::HasSubstr;

void write_text(const std::string& path, const std::string& text) {
  OutputPath(path).write([&](OutputFile& file) { file.write(text); });
}

// Names of what is in a folder.
std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

TEST(OutputPath, WritesANewFileAndOverAnOldOne) {
  TemporaryFolder folder;
  write_text(folder / "a", "one");
  EXPECT_EQ(read_bytes(folder / "a"), "one");
  ASSERT_EQ(::chmod((folder / "a").c_str(), 0600), 0);
  write_text(folder / "a", "two");
  EXPECT_EQ(read_bytes(folder / "a"), "two");
  EXPECT_EQ(fs::status(folder / "a").permissions(), fs::perms(0600)) << "a private file stays private";
  EXPECT_THAT(names_in(folder.path()), testing::ElementsAre("a"));
}

TEST(OutputPath, FollowsALinkAndLeavesIt) {
  TemporaryFolder folder;
  fs::create_directory(folder / "deep");
  write_bytes(folder / "deep/real", "precious");
  fs::create_symlink("deep/real", folder / "link");
  fs::create_symlink("link", folder / "link to link");
  fs::create_symlink("deep/not there yet", folder / "dangling");
  write_text(folder / "link to link", "new");
  EXPECT_EQ(read_bytes(folder / "deep/real"), "new");
  write_text(folder / "dangling", "made");
  EXPECT_EQ(read_bytes(folder / "deep/not there yet"), "made");
  for (const char* link : {"link", "link to link", "dangling"})
    EXPECT_TRUE(fs::is_symlink(folder / link)) << link;
  EXPECT_THAT(names_in(folder / "deep"), testing::ElementsAre("not there yet", "real"));
}

TEST(OutputPath, RefusesWhatIsNoPlainFileAndLeavesIt) {
  TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  fs::create_directory(folder / "folder");
  const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, (folder / "socket").c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  fs::create_symlink("/dev/null", folder / "link to a device");
  fs::create_symlink("pipe", folder / "link to a pipe");
  fs::create_symlink("loop", folder / "loop");
  write_bytes(folder / "file", "");
  const auto before = names_in(folder.path());
  for (const std::string& path :
       {folder / "pipe", folder / "folder", folder / "folder/", folder / "new/", folder / "socket",
        folder / "link to a device", folder / "link to a pipe", folder / "loop", folder / "none/a",
        folder / "file/a", std::string("/dev/null"), std::string("")}) {
    try {
      OutputPath out(path);
      ADD_FAILURE() << path;
    } catch (const std::invalid_argument& error) {
      EXPECT_THAT(error.what(), HasSubstr(path));
    }
  }
  ::close(socket);
  EXPECT_EQ(names_in(folder.path()), before);
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST(OutputPath, AFailureLeavesTheOldFileAndNothingBeside) {
  TemporaryFolder folder;
  write_bytes(folder / "a", "one");
  EXPECT_THAT(message_of([&] {
                OutputPath(folder / "a").write([](OutputFile& file) {
                  file.write("half");
                  throw std::runtime_error("the model is too large");
                });
              }),
              HasSubstr("too large"));
  const int status = in_child([&] {
    limit_files_to(100);
    try {
      write_text(folder / "a", std::string(200, 'x'));
    } catch (const std::system_error& error) {
      ::_exit(is_disk_full(error.code()) ? 0 : 1);
    }
    ::_exit(2);
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_EQ(read_bytes(folder / "a"), "one");
  EXPECT_THAT(names_in(folder.path()), testing::ElementsAre("a"));
}

// What stands at the path may have become something else while the work was done.
TEST(OutputPath, LooksAgainBeforeItReplaces) {
  TemporaryFolder folder;
  const OutputPath out(folder / "a");
  ASSERT_EQ(::mkfifo((folder / "a").c_str(), 0600), 0);
  EXPECT_THAT(message_of([&] { out.write([](OutputFile& file) { file.write("x"); }); }),
              HasSubstr("not a plain file"));
  EXPECT_THAT(names_in(folder.path()), testing::ElementsAre("a"));
}

TEST(OutputPath, StandardOutputIsAStream) {
  for (const char* path : {"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"}) {
    testing::internal::CaptureStdout();
    const OutputPath out(path);
    out.write([](OutputFile& file) { file.write("bytes"); });
    EXPECT_EQ(testing::internal::GetCapturedStdout(), "bytes") << path;
    EXPECT_TRUE(out.is_stream());
  }
  TemporaryFolder folder;
  EXPECT_FALSE(OutputPath(folder / "a").is_stream());
}

}  // namespace
}  // namespace thinwire::trainer
