#include "launch/launcher/worker_protocol.h"

#include <gtest/gtest.h>

#include <cmath>
#include <csignal>

#include "launch/config/config.h"

namespace thinwire::launch {
namespace {

TEST(WorkerProtocol, AJobCrossesTheEnvironmentWhole) {
  Job job;
  job.options.run.dir = "runs/\"x\"\n";
  job.options.data.path = {"a b", "c"};
  job.options.quant.rule.emplace_back();
  job.workers = 3;
  job.resume = true;
  job.start_over = true;
  job.changes = {{"inner.lr", {0.1, 0.2}}};
  job.hosts = "/etc/hosts.txt";
  const Job same = job_from_text(job_to_text(job));
  EXPECT_EQ(same.workers, 3);
  EXPECT_TRUE(same.start_over);
  EXPECT_EQ(same.changes, job.changes);
  EXPECT_EQ(same.hosts, job.hosts);
  EXPECT_TRUE(differing_keys(job.options, same.options).empty());
  EXPECT_TRUE(same.resume);
}

TEST(WorkerProtocol, WorkersIgnoreAHangupIfTheirLauncherDoes) {
  const auto before = ::signal(SIGHUP, SIG_DFL);
  EXPECT_FALSE(launcher_ignores_hangup(job_to_text({})));
  ::signal(SIGHUP, SIG_IGN);
  EXPECT_TRUE(launcher_ignores_hangup(job_to_text({})));
  ::signal(SIGHUP, before);
  EXPECT_FALSE(launcher_ignores_hangup("no JSON"));
}

TEST(WorkerProtocol, TextThatIsNoJobIsRefused) {
  for (const char* text : {"", "{}", "[1]", "{\"config\": \"\"}", "{\"config\": 1}"}) {
    EXPECT_THROW(job_from_text(text), std::runtime_error) << text;
  }
}

TEST(WorkerProtocol, EveryLineComesBack) {
  EXPECT_TRUE(parse_worker_line(hello_line()).host.has_value());
  EXPECT_EQ(parse_worker_line(warning_line("disk \"full\"\n")).warning, "disk \"full\"\n");
  const WorkerMessage failure = parse_worker_line(error_line("no text", 2, false));
  EXPECT_EQ(failure.error, "no text");
  EXPECT_EQ(failure.exit_code, 2);
  EXPECT_FALSE(failure.is_cause);
  EXPECT_EQ(parse_worker_line(notice_line("reading")).notice, "reading");
  EXPECT_EQ(parse_worker_line(begun_line(300)).begun, 300);
  EXPECT_EQ(parse_worker_line(stopping_line(15)).stopping, 15);

  const auto progress =
      parse_worker_line(progress_line({.step = 3, .total_steps = 9, .loss = 1.5, .tokens_per_s = 2}));
  ASSERT_TRUE(progress.progress);
  EXPECT_EQ(progress.progress->step, 3);
  EXPECT_EQ(progress.progress->loss, 1.5);

  const auto end = parse_worker_line(
      end_line({.end = trainer::RunEnd::kStopped, .step = 7, .stop_signal = 15, .summary = {{"steps", 7}}}));
  ASSERT_TRUE(end.end);
  EXPECT_EQ(end.end->end, trainer::RunEnd::kStopped);
  EXPECT_EQ(end.end->step, 7);
  EXPECT_EQ(end.end->stop_signal, 15);
  EXPECT_EQ(end.end->summary.at("steps"), 7);
}

TEST(WorkerProtocol, ALossThatIsNotFiniteSurvives) {
  const auto message = parse_worker_line(progress_line({.loss = std::nan("")}));
  ASSERT_TRUE(message.progress);
  EXPECT_TRUE(std::isnan(message.progress->loss));
}

TEST(WorkerProtocol, BytesThatAreNoTextDoNotEndAWorker) {
  EXPECT_TRUE(parse_worker_line(error_line("file \xff", 1, true)).error.has_value());
}

TEST(WorkerProtocol, ForeignLinesAreNothing) {
  for (const char* line : {"", "hello", "{\"hello\": 3}", "{\"progress\": {}}", "{\"error\": \"x\"}", "[]",
                           "{\"end\": 1}", "{\"begun\": \"x\"}", "{\"stopping\": null}", "{\"notice\": 1}"}) {
    const WorkerMessage message = parse_worker_line(line);
    EXPECT_FALSE(message.host || message.progress || message.warning || message.error || message.end ||
                 message.notice || message.begun || message.stopping)
        << line;
  }
}

}  // namespace
}  // namespace thinwire::launch
