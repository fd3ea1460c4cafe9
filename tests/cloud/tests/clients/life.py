"""A group's whole life through boto3. Every wait is a poll with a deadline."""
import json
import os
import time
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

scaling = boto3.client("autoscaling")
balancing = boto3.client("elbv2")
once = boto3.client("autoscaling", config=Config(retries={"total_max_attempts": 1}))
patient = boto3.client("autoscaling", config=Config(retries={"total_max_attempts": 5}))


def until(what, holds):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = holds()
        if found:
            return found
        time.sleep(0.02)
    raise SystemExit(f"timed out: {what}")


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        assert error.response["ResponseMetadata"]["RequestId"], error
        return error.response["Error"]["Message"]
    raise SystemExit(f"{call} was not refused")


def control(path, body):
    request = urllib.request.Request(os.environ["AWS_ENDPOINT_URL"] + path, json.dumps(body).encode(), method="POST")
    return json.load(urllib.request.urlopen(request))


def instances():
    return scaling.describe_auto_scaling_instances()["AutoScalingInstances"]


def all_in(state, count):
    found = [i["InstanceId"] for i in instances() if i["LifecycleState"] == state]
    return found if len(found) == count == len(instances()) else None


def complete(client, instance, result="CONTINUE"):
    client.complete_lifecycle_action(
        AutoScalingGroupName="web", LifecycleHookName="gate", InstanceId=instance, LifecycleActionResult=result
    )


arn = balancing.create_target_group(Name="web", Protocol="HTTP", Port=8080)["TargetGroups"][0]["TargetGroupArn"]
group = {
    "AutoScalingGroupName": "web",
    "MinSize": 0,
    "MaxSize": 4,
    "DesiredCapacity": 3,
    "LaunchTemplate": {"LaunchTemplateName": "web", "Version": "$Latest"},
    "AvailabilityZones": ["eu-west-1a", "eu-west-1b", "eu-west-1c"],
    "TargetGroupARNs": [arn],
    "LifecycleHookSpecificationList": [
        {"LifecycleHookName": "gate", "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING"}
    ],
    "Tags": [{"Key": "team", "Value": "a<b & \"c\""}],
}
scaling.create_auto_scaling_group(**group)
refused("AlreadyExists", scaling.create_auto_scaling_group, **group)
held = until("three are held", lambda: all_in("Pending:Wait", 3))
described = scaling.describe_auto_scaling_groups(Filters=[{"Name": "tag-key", "Values": ["team"]}])["AutoScalingGroups"][0]
assert described["Tags"][0]["Value"] == "a<b & \"c\"", described["Tags"]
assert {i["AvailabilityZone"] for i in described["Instances"]} == {"eu-west-1a", "eu-west-1b", "eu-west-1c"}
assert scaling.describe_auto_scaling_groups(IncludeInstances=False)["AutoScalingGroups"][0]["Instances"] == []
assert scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["none"])["AutoScalingGroups"] == []

pages = scaling.get_paginator("describe_auto_scaling_instances").paginate(PaginationConfig={"PageSize": 2})
assert [len(page["AutoScalingInstances"]) for page in pages] == [2, 1]

control("/_cloud/faults", {"fault": "throttle", "calls": 1, "action": "CompleteLifecycleAction"})
refused("Throttling", complete, client=once, instance=held[0])
control("/_cloud/faults", {"fault": "throttle", "calls": 1, "action": "CompleteLifecycleAction"})
complete(patient, held[0])

control("/_cloud/faults", {"fault": "lose_answer", "calls": 1, "action": "CompleteLifecycleAction"})
try:
    complete(once, held[1])
    raise SystemExit("an answer came")
except ConnectionClosedError:
    pass
message = refused("ValidationError", complete, client=scaling, instance=held[1])
assert message == f"No active Lifecycle Action found with instance ID {held[1]}", message
complete(scaling, held[2])
serving = until("three serve", lambda: all_in("InService", 3))


def health():
    found = balancing.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    return {target["Target"]["Id"]: target["TargetHealth"]["State"] for target in found}


until("three are healthy", lambda: list(health().values()) == ["healthy"] * 3)
asked = balancing.describe_target_health(TargetGroupArn=arn, Targets=[{"Id": "i-1"}])["TargetHealthDescriptions"][0]
assert asked["TargetHealth"]["State"] == "unused", asked
control("/_cloud/target-health", {"instance": serving[0], "healthy": False})
assert health()[serving[0]] == "unhealthy"

scaling.set_instance_protection(AutoScalingGroupName="web", InstanceIds=serving[:2], ProtectedFromScaleIn=True)
scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=0)
until("the unprotected one goes", lambda: all_in("InService", 2))
refused(
    "ValidationError",
    scaling.enter_standby,
    AutoScalingGroupName="web",
    InstanceIds=[serving[0]],
    ShouldDecrementDesiredCapacity=True,
)
scaling.update_auto_scaling_group(AutoScalingGroupName="web", DesiredCapacity=2)
moved = scaling.enter_standby(
    AutoScalingGroupName="web", InstanceIds=[serving[1]], ShouldDecrementDesiredCapacity=True
)["Activities"][0]
assert moved["Description"] == f"Moving EC2 instance to Standby: {serving[1]}", moved
until("it stands by", lambda: serving[1] in [i["InstanceId"] for i in instances() if i["LifecycleState"] == "Standby"])
scaling.exit_standby(AutoScalingGroupName="web", InstanceIds=[serving[1]])
until("it is back", lambda: all_in("InService", 2))
scaling.detach_load_balancer_target_groups(AutoScalingGroupName="web", TargetGroupARNs=[arn])
until("none is registered", lambda: health() == {})
scaling.attach_load_balancer_target_groups(AutoScalingGroupName="web", TargetGroupARNs=[arn])
attached = scaling.describe_load_balancer_target_groups(AutoScalingGroupName="web")["LoadBalancerTargetGroups"]
assert attached[0]["LoadBalancerTargetGroupARN"] == arn, attached
until("both are registered", lambda: len(health()) == 2)
scaling.put_warm_pool(AutoScalingGroupName="web", MinSize=1, MaxGroupPreparedCapacity=4, PoolState="Running")
pooled = until("the pool waits", lambda: scaling.describe_warm_pool(AutoScalingGroupName="web")["Instances"])
assert {i["LifecycleState"] for i in pooled} <= {"Warmed:Pending", "Warmed:Pending:Wait"}, pooled
assert scaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]["WarmPoolSize"] == 2
scaling.delete_warm_pool(AutoScalingGroupName="web", ForceDelete=True)
until("the pool is gone", lambda: all_in("InService", 2))
scaling.suspend_processes(AutoScalingGroupName="web", ScalingProcesses=["Terminate", "Launch"])
suspended = scaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]["SuspendedProcesses"]
assert [process["ProcessName"] for process in suspended] == ["Launch", "Terminate"], suspended
activity = scaling.terminate_instance_in_auto_scaling_group(
    InstanceId=serving[0], ShouldDecrementDesiredCapacity=False
)["Activity"]
assert activity["Description"] == f"Terminating EC2 instance: {serving[0]}", activity
until("one is left", lambda: all_in("InService", 1))
assert scaling.describe_scaling_activities(AutoScalingGroupName="web", MaxRecords=1)["NextToken"]
