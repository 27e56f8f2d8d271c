#include "trainer/run_folder.h"

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <optional>

#include "tests/trainer/temporary_folder.h"

namespace thinwire::trainer {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using test::read_bytes;
using test::TemporaryFolder;
using test::write_bytes;
using ::testing::HasSubstr;

TEST(RunFolder, HoldsARunOnceAConfigCheckpointOrLogIsThere) {
  TemporaryFolder folder;
  EXPECT_FALSE(holds_run(folder / "none"));
  EXPECT_FALSE(holds_run(folder.path()));
  write_bytes(folder / "notes.txt", "");
  RunLock lock(folder.path());
  EXPECT_FALSE(holds_run(folder.path())) << "a lock and foreign files are no run";
  for (const char* name : {"config.toml", "metrics.jsonl", "commits.jsonl", "summary.json", "checkpoints"}) {
    write_bytes(folder / name, "");
    EXPECT_TRUE(holds_run(folder.path())) << name;
    fs::remove(folder / name);
  }
  EXPECT_THAT(message_of([&] { holds_run(folder / "notes.txt"); }), HasSubstr("found a file"));
}

TEST(RunFolder, ALinkToARunIsThatRun) {
  TemporaryFolder folder;
  fs::create_directory(folder / "run");
  write_bytes(folder / "run/config.toml", "");
  fs::create_symlink(folder / "run", folder / "link");
  EXPECT_TRUE(holds_run(folder / "link"));
}

TEST(RunFolder, AFolderThatMayNotBeEnteredIsNamed) {
  TemporaryFolder folder;
  ASSERT_EQ(::chmod(folder.path().c_str(), 0), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::seteuid(65534) != 0) ::_exit(98);
    const auto named = [&](const std::string& message) {
      return message.find(folder.path()) != std::string::npos &&
             message.find("Permission denied") != std::string::npos;
    };
    if (!named(message_of([&] { holds_run(folder.path()); }))) ::_exit(1);
    if (!named(message_of([&] { RunLock lock(folder.path()); }))) ::_exit(2);
    if (!named(message_of([&] { JsonLines log(folder / "a.jsonl", 1); }))) ::_exit(3);
    if (!named(message_of([&] { write_file_atomically(folder / "a", "x"); }))) ::_exit(4);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(::chmod(folder.path().c_str(), 0700), 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(RunFolder, ASecondLockIsRefusedAndNamesTheOwner) {
  TemporaryFolder folder;
  std::optional<RunLock> lock(std::in_place, folder / "deep/run");
  const std::string message = message_of([&] { RunLock second(folder / "deep/run"); });
  EXPECT_THAT(message, HasSubstr(folder / "deep/run"));
  EXPECT_THAT(message, HasSubstr("process " + std::to_string(::getpid())));
  lock.reset();
  RunLock third(folder / "deep/run");
}

TEST(RunFolder, TheLockOfADeadProcessIsFree) {
  TemporaryFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    new RunLock(folder.path());
    ::raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(read_bytes(folder / ".lock").find("process " + std::to_string(child)), 0u);
  RunLock lock(folder.path());
}

TEST(RunFolder, ALockThatIsALinkIsRefused) {
  TemporaryFolder folder;
  write_bytes(folder / "target", "precious");
  fs::create_symlink(folder / "target", folder / ".lock");
  EXPECT_THAT(message_of([&] { RunLock lock(folder.path()); }), HasSubstr(".lock"));
  EXPECT_EQ(read_bytes(folder / "target"), "precious");
}

TEST(JsonLines, ARecordIsALine) {
  TemporaryFolder folder;
  JsonLines log(folder / "a.jsonl", -1);
  log.write({{"step", 1}, {"text", "two\nlines"}});
  log.write({{"step", 2}, {"loss", std::nan("")}});
  EXPECT_TRUE(log.ok());
  EXPECT_EQ(read_bytes(folder / "a.jsonl"),
            "{\"step\":1,\"text\":\"two\\nlines\"}\n{\"loss\":null,\"step\":2}\n");
}

TEST(JsonLines, AResumeDropsWhatLiesPastTheCheckpointAndTornLines) {
  TemporaryFolder folder;
  const std::string path = folder / "a.jsonl";
  const std::string kept = "{\"step\":1}\n{\"step\":2, \"x\":[1]}\n";
  for (const std::string& dropped :
       {std::string(), std::string("{\"step\":3}\n"), std::string("{\"step\":3}\n{\"step\":4}\n{\"st"),
        std::string("{\"step\":2}"), std::string("{\"step\":2"), std::string("\0\0\0\0", 4),
        std::string("\n")}) {
    write_bytes(path, kept + dropped);
    JsonLines log(path, 2);
    log.write({{"step", 3}});
    EXPECT_EQ(read_bytes(path), kept + "{\"step\":3}\n") << dropped;
  }
}

TEST(JsonLines, DamageInTheMiddleCostsOnlyItsLines) {
  TemporaryFolder folder;
  const std::string path = folder / "a.jsonl";
  write_bytes(path, "{\"step\":1}\n{\"step\":1.5}\n[]\n{\"no\":1}\n{\"st\xff\n{\"step\":9}\n{\"step\":2}\n");
  JsonLines log(path, 2);
  EXPECT_EQ(read_bytes(path), "{\"step\":1}\n{\"step\":2}\n");
}

TEST(JsonLines, ANewRunStartsAnew) {
  TemporaryFolder folder;
  write_bytes(folder / "a.jsonl", "{\"step\":0}\n");
  JsonLines log(folder / "a.jsonl", -1);
  EXPECT_EQ(read_bytes(folder / "a.jsonl"), "");
}

TEST(JsonLines, AResumeWithoutALogStartsOne) {
  TemporaryFolder folder;
  JsonLines log(folder / "a.jsonl", 10);
  log.write({{"step", 11}});
  EXPECT_EQ(read_bytes(folder / "a.jsonl"), "{\"step\":11}\n");
}

TEST(JsonLines, AFullDiskIsRememberedAndLeavesWholeLinesOnly) {
  TemporaryFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{40, 40};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    JsonLines log(folder / "a.jsonl", -1);
    log.write({{"step", 1}});
    const bool before = log.ok();
    log.write({{"step", 2}, {"text", std::string(100, 'x')}});
    const bool after = log.ok();
    log.write({{"step", 3}});
    ::_exit(before && !after && !log.ok() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(read_bytes(folder / "a.jsonl"), "{\"step\":1}\n{\"step\":3}\n");
}

TEST(JsonLines, AFolderThatIsNotThereIsNamed) {
  TemporaryFolder folder;
  EXPECT_THAT(message_of([&] { JsonLines log(folder / "none/a.jsonl", -1); }),
              HasSubstr(folder / "none/a.jsonl"));
}

TEST(AtomicFile, ReplacesTheFileAndLeavesNothingBeside) {
  TemporaryFolder folder;
  write_file_atomically(folder / "a", "one");
  write_file_atomically(folder / "a", "two");
  EXPECT_EQ(read_bytes(folder / "a"), "two");
  EXPECT_FALSE(fs::exists(folder / "a.tmp"));
}

TEST(AtomicFile, AFailedWriteLeavesTheOlderFile) {
  TemporaryFolder folder;
  write_file_atomically(folder / "a", "one");
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100, 100};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      write_file_atomically(folder / "a", std::string(200, 'x'));
    } catch (const std::system_error& error) {
      ::_exit(is_disk_full(error.code()) ? 0 : 1);
    }
    ::_exit(2);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_EQ(read_bytes(folder / "a"), "one");
  EXPECT_FALSE(fs::exists(folder / "a.tmp"));
}

TEST(AtomicFile, WhatAKilledWriterLeftBesideIsReplaced) {
  TemporaryFolder folder;
  write_bytes(folder / "target", "precious");
  fs::create_symlink(folder / "target", folder / "a.tmp");
  write_file_atomically(folder / "a", "one");
  EXPECT_EQ(read_bytes(folder / "a"), "one");
  EXPECT_EQ(read_bytes(folder / "target"), "precious");
}

}  // namespace
}  // namespace thinwire::trainer
